//! A person finds what a handler has left in doubt, and decides.
//!
//! Run alone: `cargo test --workspace --all-features --test e2e -- operations::doubts::`

use idem_core::RedisStore;
use idem_rocketmq::admin::{AdminError, RecordFilter, RecordKey, records_of_group, records_of_topic};
use idem_rocketmq::prelude::*;
use idem_rocketmq::settings::UncertainRun;

use crate::support::kit::{self, Order, Runs, SOON, note};
use crate::support::place::Place;
use crate::support::servers::variable;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_waits_for_a_person_who_decides() {
    let place = Place::plain(2).await;
    let (topic, runs) = (place.topic.as_str(), Runs::default());
    let seen = runs.clone();
    let route = handler(topic, move |order: Order| {
        seen.add(&order.id);
        let is_first = seen.of(&order.id) == 1 && order.id != "clear";
        async move {
            if is_first {
                return Err(Uncertain::because("no answer from the bank"));
            }
            Ok(())
        }
    });
    let route = route.key(|order| order.id.clone()).named("pay").uncertain(UncertainRun::Hold);
    let store = RedisStore::connect(variable("IDEM_TEST_REDIS_URL")).await.unwrap();
    let consumer = place.member(&store, [route]).start().await.unwrap();
    for id in ["paid", "unpaid", "clear"] {
        place.send(place.order(id)).await;
    }
    let letters = place.until_dead_letters(2).await;
    assert!(letters.iter().all(|letter| note(letter, "IDEM_OUTCOME") == "uncertain"));
    // Nor does a duplicate run, or count as done.
    place.send(place.order("paid")).await;
    place.until_dead_letters(3).await;
    kit::until_equal("runs", 3, SOON, async || runs.total()).await;

    let admin = consumer.admin("alice");
    let group = records_of_group("", &place.group);
    let doubts = admin.list(RecordFilter::new().within(group.clone()).in_doubt(true)).all().await.unwrap();
    assert_eq!(doubts.len(), 2, "{doubts:?}");
    let key = |id: &str| {
        RecordKey::new(records_of_topic("", &place.group, topic, ""), IdempotencyKey::new(id).unwrap())
    };
    let report = admin.show(&key("paid")).await.unwrap().unwrap().to_string();
    for said in [
        "in doubt since",
        "the handler does not know",
        "no answer from the bank",
        &format!("({} on ", place.group),
    ] {
        assert!(report.contains(said), "{said} is missing in:\n{report}");
    }
    assert!(matches!(admin.run(&key("clear"), "why not").await, Err(AdminError::Completed)));
    assert!(admin.done(&key("paid"), "the bank has a receipt").await.unwrap().changed);
    assert!(admin.run(&key("unpaid"), "the bank knows nothing of it").await.unwrap().changed);
    for id in ["paid", "unpaid"] {
        place.send(place.order(id)).await;
    }
    kit::until_equal("runs of what was not paid", 2, SOON, async || runs.of("unpaid")).await;
    place.until_acked().await;
    assert_eq!((runs.of("paid"), runs.total()), (1, 4));
    let doubts = admin.list(RecordFilter::new().within(group).in_doubt(true)).all().await.unwrap();
    assert_eq!(doubts, []);
    let trail = admin.trail(None, 100).await.unwrap();
    let own = trail.iter().filter(|found| found.entry.key.namespace() == key("paid").namespace());
    assert_eq!(own.count(), 6, "three decisions, of which one was refused");
    consumer.shutdown().await;
}

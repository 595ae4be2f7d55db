//! Every time and number that a start accepts works on a real broker.
//!
//! Run alone: `cargo test --workspace --all-features --test e2e -- operations::extremes::`

use std::time::Duration;

use idem_core::clock::{LONGEST, extreme_moments, extremes};
use idem_rocketmq::consumer::ConsumeFrom;
use idem_rocketmq::embedded::EmbeddedBroker;
use idem_rocketmq::prelude::*;
use idem_rocketmq::producer::TransactionState;

use crate::support::kit::{self, Runs, SOON};
use crate::support::place::{Kind, Place};

fn note(topic: &str, key: &str) -> OutgoingMessage {
    OutgoingMessage::json(topic, key, &serde_json::json!({ "id": key }))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_whose_times_and_numbers_have_no_end_works() {
    let (place, runs) = (Place::embedded(Kind::Plain, 1).await, Runs::default());
    let another = place.another_topic(1).await;
    let endless = |topic: &str| {
        let route = kit::counting(topic, &runs).timeout(Duration::MAX).retention(Duration::MAX);
        route.concurrency(usize::MAX).max_attempts(idem_core::UNLIMITED).lease(Duration::from_millis(100))
    };
    let routes = [endless(&place.topic), endless(&another).named("another")];
    let member = place.member(&MemoryStore::new(), routes).shutdown_timeout(Duration::MAX);
    let running = member.start().await.unwrap();
    place.send_all(place.orders(3)).await;
    runs.until_total(3, SOON).await;
    tokio::time::timeout(SOON, running.shutdown()).await.expect("it ends when its handlers have");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_group_may_start_at_any_time() {
    let place = Place::embedded(Kind::Plain, 1).await;
    place.send(place.order("first")).await;
    for (turn, moment) in extreme_moments().enumerate() {
        let runs = Runs::default();
        let group = format!("{}-{turn}", place.group);
        let member = Consumer::builder(group).name_server(place.name_server()).store(MemoryStore::new());
        let member = member.handlers([kit::counting(&place.topic, &runs)]);
        let running = member.consume_from(ConsumeFrom::Timestamp(moment)).start().await;
        let running = running.unwrap_or_else(|error| panic!("{moment:?}: {error}"));
        if moment < std::time::SystemTime::UNIX_EPOCH + Duration::from_hours(24) {
            runs.until_total(1, SOON).await;
        }
        running.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producer_whose_times_have_no_end_works() {
    let (place, runs) = (Place::embedded(Kind::Plain, 1).await, Runs::default());
    let topic = place.topic.as_str();
    let producer = place.sender().send_timeout(Duration::MAX).transaction_timeout(Duration::MAX);
    let producer = producer.max_message_size(usize::MAX);
    let unknown = |_: Delivery| async { Ok(TransactionState::Unknown) };
    let producer = producer.check_back(topic, unknown).start().await.unwrap();
    producer.send(&note(topic, "sent")).await.unwrap();
    producer.transaction(&note(topic, "committed"), || async { Ok::<_, String>(()) }).await.unwrap();
    for time in extremes() {
        // A broker's timer takes three days.
        let is_sent = producer.send_after(&note(topic, "after"), time).await.is_ok();
        assert!(is_sent == (time < Duration::from_hours(72)) || is_sent && time <= LONGEST, "{time:?}");
    }
    for moment in extreme_moments() {
        let _ = producer.send_at(&note(topic, "at"), moment).await;
    }
    producer.send(&note(topic, "last")).await.unwrap();
    let member = place.member(&MemoryStore::new(), [kit::counting(topic, &runs)]);
    let running = member.start().await.unwrap();
    kit::until("what was sent", SOON, async || {
        ["sent", "committed", "after", "at", "last"].iter().all(|key| runs.of(key) == 1)
    })
    .await;
    running.shutdown().await;
    let short = place.sender().send_timeout(Duration::from_nanos(1)).start().await.unwrap();
    let _ = short.send(&note(topic, "in no time")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_has_as_many_queues_as_a_client_can_keep() {
    for queues in [0, u32::MAX] {
        let error = EmbeddedBroker::builder().topic("orders", queues).start().await.unwrap_err();
        assert!(error.to_string().contains(&format!("and not {queues}")), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_embedded_broker_starts_with_any_time_between_its_checks() {
    for time in [Duration::ZERO, Duration::from_nanos(1), Duration::MAX] {
        let broker = EmbeddedBroker::builder().transaction_check_interval(time).start().await.unwrap();
        broker.shutdown().await;
    }
}

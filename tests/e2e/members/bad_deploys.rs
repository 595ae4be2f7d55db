//! Members of a group that were deployed with a mistake, too early or too late.
//!
//! Run alone: `cargo test --workspace --all-features --test e2e -- members::bad_deploys::`

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use idem_rocketmq::codec::Text;
use idem_rocketmq::embedded::Outgoing;
use idem_rocketmq::handler::handler_with;
use idem_rocketmq::prelude::*;

use crate::support::kit::{self, Order, Runs, SOON};
use crate::support::place::{Place, on_both};

on_both! {
    async fn a_topic_that_a_bad_deploy_cannot_read_is_held_until_the_right_one_comes(place: Plain of 4) {
        const SENT: usize = 250;
        let runs = Runs::default();
        let bodies = (0..SENT).map(|number| Outgoing::new(&place.topic, format!("order {number}")));
        place.send_all(bodies.collect()).await;
        // A batch whose confirmation came late is there twice.
        let sent = place.stored().await;
        let holds = || kit::counted("idem_unfit_holds_total", &[]);
        let before = holds();
        let name = format!("wrong_codec_{}", place.group);
        let wrong = kit::counting(&place.topic, &runs).named(name.clone());
        let bad = place.member(&MemoryStore::new(), [wrong]).start().await.unwrap();

        let held = || kit::events(|event| event.is("handler", &name) && event.is("what", "Undecodable"));
        kit::until("all others are held", SOON, async || held().len() >= sent - 51).await;
        let decided = || kit::outcomes(&place.group).len();
        kit::until("the first ones are dead letters", SOON, async || {
            decided() + held().len() == sent && place.dead_letters().await.len() == decided()
        })
        .await;
        assert!((1..=51).contains(&decided()), "{}", decided());
        assert!(held().iter().all(|event| event.level == tracing::Level::ERROR));
        assert!(held()[0].field("message").unwrap().contains("check the payload's type and the codec"));
        assert!(holds() - before >= held().len() as u64);
        assert!(place.backlog().await >= (SENT - 51) as u64);
        bad.shutdown().await;
        assert!(place.backlog().await >= (SENT - 51) as u64);
        assert_eq!(runs.total(), 0);

        let seen = runs.clone();
        let good = handler_with(&place.topic, Text, move |text: String| {
            seen.add(&text);
            async {}
        })
        .key(String::clone);
        let good = place.member(&MemoryStore::new(), [good]).start().await.unwrap();
        kit::until("all held ones are handled", SOON, async || place.backlog().await == 0).await;
        good.shutdown().await;
        let letters: BTreeSet<_> = place.dead_letters().await.into_iter().map(|letter| letter.body).collect();
        assert!(letters.len() <= 51);
        for number in 0..SENT {
            let body = format!("order {number}");
            assert!(runs.of(&body) == 1 || letters.contains(body.as_bytes()), "{body}");
        }
        assert_eq!(runs.repeated(), Vec::<String>::new());
    }
}

/// A rolling deploy, on its way back: only the older member is there, which knows tag X and not yet tag Y.
#[tokio::test(flavor = "multi_thread")]
async fn a_retry_that_this_member_has_no_handler_for_is_never_acked() {
    let place = Place::levels(2).await;
    let store = MemoryStore::new();
    let (x, y) = (Runs::default(), Runs::default());
    let of_x = || kit::counting(&place.topic, &x).tag("X").named("x");
    let fails = Arc::new(AtomicBool::new(true));
    let newer = || {
        let (runs, fails) = (y.clone(), fails.clone());
        let of_y = handler(&place.topic, move |order: Order| {
            runs.add(&order.id);
            let result = if fails.load(Ordering::SeqCst) { Err("not yet") } else { Ok(()) };
            async move { result }
        });
        let of_y = of_y.key(|order| order.id.clone()).tag("Y").named("y");
        place.member(&store, [of_x(), of_y.backoff(kit::secondly())])
    };
    place.send(place.order("y").tag("Y")).await;
    let a = newer().start().await.unwrap();
    kit::until("Y has failed", SOON, async || !place.retries().await.is_empty()).await;
    a.shutdown().await;
    let failed = y.of("y");

    let b = place.member(&store, [of_x()]).start().await.unwrap();
    let unhandled =
        || kit::outcomes(&place.group).into_iter().filter(|event| event.is("outcome", "no_handler"));
    kit::until("the other member sends it on", SOON, async || unhandled().count() >= 1).await;
    assert!(unhandled().all(|event| event.level == tracing::Level::ERROR && event.is("tag", "Y")));
    place.send(place.order("x").tag("X")).await;
    x.until_total(1, SOON).await;
    b.shutdown().await;
    assert_eq!(y.of("y"), failed);

    fails.store(false, Ordering::SeqCst);
    let a = newer().start().await.unwrap();
    // It was sent on for half a minute, which is longer than any level of this broker.
    y.until_total(failed + 1, Duration::from_mins(1)).await;
    a.shutdown().await;
    assert!(place.dead_letters().await.is_empty());
    let attempts: Vec<_> = kit::outcomes(&place.group)
        .into_iter()
        .filter(|event| event.is("outcome", "completed") && event.is("tag", "Y"))
        .map(|event| event.field("attempt").unwrap().to_owned())
        .collect();
    assert_eq!(attempts, [(failed + 1).to_string()], "being sent on costs no attempt");
}

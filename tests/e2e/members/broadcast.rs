//! Broadcasting, on both brokers.
//!
//! Run alone: `cargo test --workspace --all-features --test e2e -- members::broadcast::`

use std::time::{Duration, Instant};

use idem_rocketmq::consumer::ConsumeFrom;
use idem_rocketmq::prelude::*;
use idem_rocketmq::{Backoff, RunningConsumer};

use crate::support::kit::{self, Order, Runs, SOON};
use crate::support::place::{Place, on_both};

async fn send(place: &Place, numbers: std::ops::Range<usize>) {
    for number in numbers {
        place.send(place.order(number)).await;
    }
}

async fn start(
    place: &Place,
    name: &str,
    store: &MemoryStore,
    from: ConsumeFrom,
    route: Route,
) -> RunningConsumer {
    let member = place.member(store, [route.broadcast()]).instance_name(place.instance(name));
    member.consume_from(from).start().await.unwrap()
}

on_both! {
    /// With one store, whose records are each instance's own.
    async fn every_instance_handles_every_message_once(place: Plain of 4) {
        let store = MemoryStore::new();
        send(&place, 0..20).await;
        let (one, two) = (Runs::default(), Runs::default());
        let first = start(&place, "one", &store, ConsumeFrom::First, kit::counting(&place.topic, &one)).await;
        let second = start(&place, "two", &store, ConsumeFrom::First, kit::counting(&place.topic, &two)).await;
        send(&place, 20..40).await;
        send(&place, 30..40).await;
        one.until_total(40, SOON).await;
        two.until_total(40, SOON).await;
        kit::until("the duplicates are seen", SOON, async || place.duplicates() == 20).await;
        first.shutdown().await;
        second.shutdown().await;
        assert_eq!((one.total(), two.total()), (40, 40));
    }

    /// From the last offset, in queues of which some have never had a message.
    async fn what_came_while_an_instance_was_down_is_neither_skipped_nor_repeated(place: Plain of 4) {
        let (store, runs) = (MemoryStore::new(), Runs::default());
        send(&place, 0..4).await;
        let route = || kit::counting(&place.topic, &runs);
        let first = start(&place, "one", &store, ConsumeFrom::Last, route()).await;
        send(&place, 4..5).await;
        runs.until_total(1, SOON).await;
        first.shutdown().await;
        send(&place, 5..25).await;
        let again = start(&place, "one", &store, ConsumeFrom::Last, route()).await;
        runs.until_total(21, SOON).await;
        send(&place, 25..26).await;
        runs.until_total(22, SOON).await;
        again.shutdown().await;
        assert_eq!((runs.of("3"), runs.of("4"), runs.of("5"), runs.keys()), (0, 1, 1, 22));
    }

    /// It is still there after a restart, with the attempt that it had.
    async fn a_shutdown_does_not_wait_for_the_next_attempt(place: Plain of 4) {
        send(&place, 0..1).await;
        let (store, attempts) = (MemoryStore::new(), Runs::default());
        let route = |fails: bool| {
            let attempts = attempts.clone();
            let handler = handler(&place.topic, move |_: Order, attempt: Attempt| {
                attempts.add(&attempt.number().to_string());
                async move { if fails { Err("not yet") } else { Ok(()) } }
            });
            handler.key(|order| order.id.clone()).backoff(Backoff::fixed(Duration::from_mins(1)))
        };
        let first = start(&place, "one", &store, ConsumeFrom::First, route(true)).await;
        attempts.until_total(1, SOON).await;
        let begun = Instant::now();
        first.shutdown().await;
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
        let again = start(&place, "one", &store, ConsumeFrom::First, route(false)).await;
        attempts.until_total(2, SOON).await;
        again.shutdown().await;
        assert_eq!((attempts.of("1"), attempts.of("2")), (1, 1));
    }

    async fn a_failed_message_is_tried_again_in_the_process_and_then_a_dead_letter(place: Plain of 4) {
        send(&place, 0..10).await;
        let (runs, seen) = (Runs::default(), Runs::default());
        let route = {
            let (runs, seen) = (runs.clone(), seen.clone());
            handler(&place.topic, move |order: Order, delivery: std::sync::Arc<Delivery>| {
                runs.add(&order.id);
                seen.add(delivery.message_id());
                let (id, run) = (order.id.clone(), runs.of(&order.id));
                async move {
                    match &*id {
                        "3" if run < 3 => Err("not yet"),
                        "7" => Err("never"),
                        _ => Ok(()),
                    }
                }
            })
        };
        let route = route.key(|order| order.id.clone()).max_attempts(4).backoff(Backoff::fixed(Duration::from_millis(100)));
        let consumer = start(&place, "one", &MemoryStore::new(), ConsumeFrom::First, route).await;
        runs.until_total(8 + 3 + 4, SOON).await;
        kit::until("a dead letter", SOON, async || !place.dead_letters().await.is_empty()).await;
        consumer.shutdown().await;
        let letters = place.dead_letters().await;
        let notes = ["IDEM_KEY", "IDEM_ATTEMPTS", "IDEM_REASON"].map(|name| kit::note(&letters[0], name));
        assert_eq!(notes, ["7", "4", "never"]);
        assert_eq!((runs.of("3"), runs.of("7"), letters.len()), (3, 4, 1));
        assert_eq!(seen.keys(), 10, "the same messages, and no copies");
    }
}

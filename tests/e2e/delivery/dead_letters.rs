//! A message that is given up becomes a dead letter with its reason, key and attempts.
//!
//! Run alone: `cargo test --workspace --all-features --test e2e -- delivery::dead_letters::`

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use idem_rocketmq::prelude::*;

use crate::support::kit::{self, Order, Runs, note, why};
use crate::support::place::on_both;

on_both! {
    async fn a_rejected_message_becomes_a_dead_letter_at_once_with_reason_key_and_attempts(place: Plain of 1) {
        let runs = Runs::default();
        let seen = runs.clone();
        let route = handler(&place.topic, move |order: Order| {
            seen.add(&order.id);
            async { HandlerResult::Err(Reject::new("a negative amount").into()) }
        })
        .key(|order| order.id.clone());
        place.send(place.order("order-7").tag("PAID").key("k7")).await;
        let consumer = place.member(&MemoryStore::new(), [route]).start().await.unwrap();
        let letter = &place.until_dead_letters(1).await[0];
        consumer.shutdown().await;
        assert_eq!(why(letter), ("rejected", "1", "a negative amount"));
        let properties = ["IDEM_KEY", "TAGS", "KEYS", "RETRY_TOPIC"].map(|name| note(letter, name));
        assert_eq!(properties, ["order-7", "PAID", "k7", &place.topic]);
        assert_eq!(runs.total(), 1);
        assert!(place.retries().await.is_empty());
    }

    /// Two members share the store, so that duplicates meet runs of their own process and of the other.
    async fn a_dead_letter_comes_after_exactly_three_runs_however_many_duplicates_lie_between(place: Levels of 8) {
        let store = MemoryStore::new();
        let attempts: Arc<Mutex<Vec<u32>>> = Arc::default();
        let joined = Runs::default();
        let member = |name: &'static str| {
            let (seen, joined) = (attempts.clone(), joined.clone());
            let route = handler(&place.topic, move |order: Order, attempt: Attempt| {
                let is_early = order.id.starts_with("early");
                if is_early {
                    joined.add(name);
                } else {
                    seen.lock().unwrap().push(attempt.number());
                }
                async move {
                    if is_early {
                        return HandlerResult::Ok(());
                    }
                    tokio::time::sleep(Duration::from_millis(400)).await;
                    HandlerResult::Err("the bank is closed".into())
                }
            });
            let route = route.key(|order| order.id.clone()).max_attempts(3).named("three");
            // Duplicates wait no longer than that.
            let route = route.lease(Duration::from_secs(3)).timeout(Duration::from_secs(4));
            place.member(&store, [route.backoff(kit::secondly())])
        };
        let (one, two) = (member("one").start().await.unwrap(), member("two").start().await.unwrap());
        let mut early = 0;
        while joined.keys() < 2 {
            assert!(early < 1_000, "one member gets nothing");
            place.send(place.order(format!("early-{early}"))).await;
            early += 1;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        place.until_acked().await;
        let mut sent = 0;
        while attempts.lock().unwrap().len() < 6 {
            assert!(sent < 200, "{:?}", attempts.lock().unwrap());
            place.send(place.order("order-7").property("number", sent.to_string())).await;
            sent += 1;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        // A message of a queue that moves may come to both, and each delivery ends as a dead letter.
        kit::until_equal("messages with a dead letter", sent, Duration::from_mins(2), async || {
            let letters = place.queued_dead_letters().await;
            letters.iter().filter_map(|letter| letter.property("number")).collect::<BTreeSet<_>>().len()
        })
        .await;
        one.shutdown().await;
        two.shutdown().await;

        assert!(place.counted("in_progress") > 0, "no duplicate came while the order ran");
        let attempts = attempts.lock().unwrap().clone();
        assert_eq!(attempts[..3], [1, 2, 3], "three runs, then a dead letter");
        // A dead letter begins the key's count anew; a copy from before brings the count that it had.
        for round in attempts.split_inclusive(|attempt| *attempt == 3) {
            assert!(round.len() <= 3 && round.is_sorted() && round.iter().all(|n| *n <= 3), "{attempts:?}");
        }
        for letter in place.dead_letters().await {
            assert_eq!(why(&letter), ("exhausted", "3", "the bank is closed"));
            assert_eq!(note(&letter, "IDEM_KEY"), "order-7");
        }
    }
}

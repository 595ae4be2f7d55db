//! Consuming, retries and dead letters on Apache RocketMQ in Java.
//!
//! Run alone: `cargo test --workspace --all-features --test e2e -- delivery::plain::`

use std::time::Instant;

use idem_core::store::{Claim, ClaimRequest, Store as _};
use idem_core::{Namespace, RecordKey, Token};
use idem_rocketmq::Backoff;
use idem_rocketmq::prelude::*;

use crate::support::kit::{self, Runs, SOON, note};
use crate::support::log::{Log, secs};
use crate::support::place::Place;

#[tokio::test(flavor = "multi_thread")]
async fn duplicates_are_handled_once() {
    const KEYS: usize = 300;
    let place = Place::plain(4).await;
    let (runs, store) = (Runs::default(), MemoryStore::new());
    let consumer = place.member(&store, [kit::counting(&place.topic, &runs)]).start().await.unwrap();
    // In batches, where copies stand side by side, and one by one over all queues.
    let orders = (0..KEYS).flat_map(|number| [place.order(number), place.order(number)]);
    place.send_all(orders.collect()).await;
    for number in 0..KEYS {
        place.send(place.order(number)).await;
    }
    place.until_acked().await;
    consumer.shutdown().await;
    assert_eq!((runs.total(), runs.keys()), (KEYS, KEYS));
    // Three of each; and a batch whose confirmation came late is there twice.
    let stored = place.stored().await;
    assert!(stored >= 3 * KEYS);
    assert_eq!((place.counted("completed"), place.duplicates()), (KEYS as u64, (stored - KEYS) as u64));
    assert!(place.retries().await.is_empty() && place.dead_letters().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_failed_attempt_becomes_a_dead_letter_after_the_backoff_of_the_others() {
    let place = Place::plain(1).await;
    let log = Log::default();
    let failing = |_: &str, attempt| HandlerResult::Err(format!("no stock, attempt {attempt}").into());
    let route =
        log.handler(&place.topic, failing).max_attempts(3).backoff(Backoff::steps([secs(1), secs(4)]));
    let consumer = place.member(&MemoryStore::new(), [route]).start().await.unwrap();
    let order = place.order("7").tag("PAID").key("order 7").property("colour", "blue");
    place.send(order).await;

    let letter = &place.until_dead_letters(1).await[0];
    let runs = log.runs();
    assert_eq!(runs.iter().map(|run| run.attempt).collect::<Vec<_>>(), [1, 2, 3]);
    let pauses = [runs[1].at - runs[0].at, runs[2].at - runs[1].at];
    println!("a backoff of 1 s and 4 s took {pauses:.2?}");
    assert!(pauses[0] >= secs(1) && pauses[0] < secs(4), "{pauses:?}");
    assert!(pauses[1] >= secs(4) && pauses[1] < secs(7), "{pauses:?}");
    assert_eq!(letter.body, br#"{"id":"7"}"#.as_slice());
    let wanted = [
        ("IDEM_KEY", "7"),
        ("IDEM_ATTEMPTS", "3"),
        ("IDEM_REASON", "no stock, attempt 3"),
        ("IDEM_OUTCOME", "exhausted"),
        ("TAGS", "PAID"),
        ("KEYS", "order 7"),
        ("colour", "blue"),
        ("RETRY_TOPIC", place.topic.as_str()),
    ];
    assert_eq!(wanted.map(|(name, _)| (name, note(letter, name))), wanted);
    place.until_acked().await;
    consumer.shutdown().await;
}

/// Another process has the key, and dies: its message's copy comes when the lease is over, and is a first attempt.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_in_progress_elsewhere_is_tried_again_when_its_lease_is_over() {
    const LEASE: std::time::Duration = secs(6);
    let place = Place::plain(1).await;
    let (log, store) = (Log::default(), MemoryStore::new());
    let route = log.handler(&place.topic, |_, _| Ok(())).scope("orders");
    let namespace = Namespace::new(["", place.group.as_str(), "scope", "orders"]);
    let consumer = place.member(&store, [route]).start().await.unwrap();
    let request = ClaimRequest::new(
        RecordKey::new(namespace, IdempotencyKey::new("7").unwrap()),
        Token::random(),
        LEASE,
        secs(60),
        idem_core::MemberId::random(),
    );
    // An order before, so that the consumer is at work when the lease begins.
    place.send(place.order("first")).await;
    log.until(1, SOON).await;
    let claimed = Instant::now();
    let answers = store.claim(&[request]).await.unwrap();
    assert!(matches!(answers[0], Ok(Claim::Claimed { .. })), "{answers:?}");
    place.send(place.order("7")).await;
    let runs = log.until(2, SOON).await;
    let took = runs[1].at - claimed;
    println!("a lease of {LEASE:?} kept the key for {took:.2?}");
    assert!(took >= LEASE && took < LEASE + secs(3), "{took:?}");
    assert_eq!(runs[1].attempt, 1);
    place.until_acked().await;
    consumer.shutdown().await;
    let copies = place.retries().await;
    assert_eq!(copies.len(), 1, "{copies:?}");
    assert_eq!((note(&copies[0], "IDEM_OUTCOME"), note(&copies[0], "IDEM_ATTEMPTS")), ("in_progress", "0"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_message_of_a_topic_that_comes_later_is_handled_within_three_seconds() {
    let place = Place::without_topic().await;
    let log = Log::default();
    let route = log.handler(&place.topic, |_, _| Ok(()));
    let consumer = place.member(&MemoryStore::new(), [route]).start().await.unwrap();
    // Longer than the client looks for it eagerly.
    tokio::time::sleep(secs(12)).await;
    place.bench.create_topic(&place.topic, 4).await.unwrap();
    let created = Instant::now();
    place.send(place.order("first")).await;
    let runs = log.until(1, SOON).await;
    let took = runs[0].at - created;
    println!("the first message was handled {took:.2?} after its topic had come");
    assert!(took < secs(3), "{took:?}");
    place.until_acked().await;
    consumer.shutdown().await;
}

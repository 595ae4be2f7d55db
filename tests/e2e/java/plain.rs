//! Consuming, failing, and what becomes of messages that cannot be handled.

use std::time::Instant;

use idem_core::store::{Claim, ClaimRequest, Store as _};
use idem_core::{Namespace, RecordKey, Token};
use idem_rocketmq::Backoff;
use idem_rocketmq::embedded::Outgoing;
use idem_rocketmq::prelude::*;

use super::{Java, Log, note, secs, variable};
use crate::kit::{self, Runs, SOON};

#[tokio::test(flavor = "multi_thread")]
async fn duplicates_are_handled_once() {
    const KEYS: usize = 300;
    let java = Java::plain("duplicates", 4).await;
    let (runs, store) = (Runs::default(), MemoryStore::new());
    let consumer = java.member(&store, kit::counting(&java.topic, &runs)).start().await.unwrap();
    // In batches, where copies stand side by side, and one by one over all queues.
    let orders =
        (0..KEYS).flat_map(|number| [kit::order(&java.topic, number), kit::order(&java.topic, number)]);
    java.bench.producer().send_all(orders.collect()).await.unwrap();
    for number in 0..KEYS {
        java.send(number).await;
    }
    java.until_acked().await;
    consumer.shutdown().await;
    assert_eq!((runs.total(), runs.keys()), (KEYS, KEYS));
    let outcomes =
        |outcome| kit::counted("idem_messages_total", &[("group", &java.group), ("outcome", outcome)]);
    assert_eq!((outcomes("completed"), outcomes("duplicate")), (KEYS as u64, 2 * KEYS as u64));
    assert!(java.retries().await.is_empty() && java.dead_letters().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_failed_attempt_becomes_a_dead_letter_after_the_backoff_of_the_others() {
    let java = Java::plain("attempts", 1).await;
    let log = Log::default();
    let failing = |_: &str, attempt| HandlerResult::Err(format!("no stock, attempt {attempt}").into());
    let route = log.handler(&java.topic, failing).max_attempts(3).backoff(Backoff::steps([secs(1), secs(4)]));
    let consumer = java.member(&MemoryStore::new(), route).start().await.unwrap();
    let order = kit::order(&java.topic, "7").tag("PAID").key("order 7").property("colour", "blue");
    java.bench.producer().send(order).await.unwrap();

    kit::until_equal("dead letters", 1, SOON, async || java.dead_letters().await.len()).await;
    let runs = log.runs();
    assert_eq!(runs.iter().map(|run| run.attempt).collect::<Vec<_>>(), [1, 2, 3]);
    let pauses = [runs[1].at - runs[0].at, runs[2].at - runs[1].at];
    println!("a backoff of 1 s and 4 s took {pauses:.2?}");
    assert!(pauses[0] >= secs(1) && pauses[0] < secs(4), "{pauses:?}");
    assert!(pauses[1] >= secs(4) && pauses[1] < secs(7), "{pauses:?}");
    let letter = &java.dead_letters().await[0];
    assert_eq!(letter.body, br#"{"id":"7"}"#.as_slice());
    let wanted = [
        ("IDEM_KEY", "7"),
        ("IDEM_ATTEMPTS", "3"),
        ("IDEM_REASON", "no stock, attempt 3"),
        ("IDEM_OUTCOME", "exhausted"),
        ("TAGS", "PAID"),
        ("KEYS", "order 7"),
        ("colour", "blue"),
        ("RETRY_TOPIC", java.topic.as_str()),
    ];
    assert_eq!(wanted.map(|(name, _)| (name, note(letter, name))), wanted);
    java.until_acked().await;
    consumer.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_rejected_or_cannot_be_read_becomes_a_dead_letter_at_once_and_the_rest_is_handled() {
    let java = Java::plain("unfit", 1).await;
    let log = Log::default();
    let rejecting = |id: &str, _| match id {
        "rejected" => HandlerResult::Err(Reject::new("a negative amount").into()),
        _ => Ok(()),
    };
    let (store, topic) = (MemoryStore::new(), java.topic.as_str());
    let consumer = java.member(&store, log.handler(topic, rejecting)).start().await.unwrap();
    for message in [Outgoing::new(topic, "no JSON"), kit::order(topic, "rejected"), kit::order(topic, "")] {
        java.bench.producer().send(message).await.unwrap();
    }
    java.send_all(kit::orders(topic, 30)).await;
    kit::until_equal("dead letters", 3, SOON, async || java.dead_letters().await.len()).await;
    log.until(31, SOON).await;
    java.until_acked().await;
    consumer.shutdown().await;
    let letters = java.dead_letters().await;
    let of = |outcome| letters.iter().find(|letter| note(letter, "IDEM_OUTCOME") == outcome).unwrap();
    let rejected = of("rejected");
    assert_eq!((note(rejected, "IDEM_KEY"), note(rejected, "IDEM_ATTEMPTS")), ("rejected", "1"));
    assert_eq!(note(rejected, "IDEM_REASON"), "a negative amount");
    assert_eq!(note(of("undecodable"), "IDEM_REASON"), "the body is no JSON, at line 1 column 2");
    assert!(note(of("missing_key"), "IDEM_REASON").contains("is empty"));
    assert!(java.retries().await.is_empty());
}

/// Another process has the key, and dies: its message's copy comes when the lease is over, and is a first attempt.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_in_progress_elsewhere_is_tried_again_when_its_lease_is_over() {
    const LEASE: std::time::Duration = secs(6);
    let java = Java::plain("conflict", 1).await;
    let (log, store) = (Log::default(), MemoryStore::new());
    let route = log.handler(&java.topic, |_, _| Ok(())).scope("orders");
    let namespace = Namespace::new(["", java.group.as_str(), "scope", "orders"]);
    let consumer = java.member(&store, route).start().await.unwrap();
    let request = ClaimRequest {
        key: RecordKey::new(namespace, IdempotencyKey::new("7").unwrap()),
        token: Token::random(),
        lease: LEASE,
        retention: secs(60),
        fingerprint: None,
    };
    // An order before, so that the consumer is at work when the lease begins.
    java.send("first").await;
    log.until(1, SOON).await;
    let claimed = Instant::now();
    let answers = store.claim(&[request]).await.unwrap();
    assert!(matches!(answers[0], Ok(Claim::Claimed { .. })), "{answers:?}");
    java.send("7").await;
    let runs = log.until(2, SOON).await;
    let took = runs[1].at - claimed;
    println!("a lease of {LEASE:?} kept the key for {took:.2?}");
    assert!(took >= LEASE && took < LEASE + secs(3), "{took:?}");
    assert_eq!(runs[1].attempt, 1);
    java.until_acked().await;
    consumer.shutdown().await;
    let copies = java.retries().await;
    assert_eq!(copies.len(), 1, "{copies:?}");
    assert_eq!((note(&copies[0], "IDEM_OUTCOME"), note(&copies[0], "IDEM_ATTEMPTS")), ("in_progress", "0"));
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdowns_under_load_lose_nothing_and_repeat_nothing() {
    const SENT: usize = 4_000;
    let java = Java::plain("shutdowns", 4).await;
    let (begun, ended, store) = (Runs::default(), Runs::default(), MemoryStore::new());
    java.send_all(kit::orders(&java.topic, SENT)).await;
    let mut stops = 0;
    while ended.total() < SENT {
        assert!(stops < 20, "{} of {SENT}", ended.total());
        let route = kit::sleeping(&java.topic, &begun, &ended, std::time::Duration::from_millis(20));
        let consumer = java.member(&store, route).start().await.unwrap();
        let wanted = (ended.total() + SENT / 3).min(SENT);
        kit::until("a third more is done", SOON, async || ended.total() >= wanted).await;
        consumer.shutdown().await;
        stops += 1;
    }
    assert_eq!((begun.total(), ended.total(), ended.keys()), (SENT, SENT, SENT));
    java.until_acked().await;
    assert!(java.retries().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_message_of_a_topic_that_comes_later_is_handled_within_three_seconds() {
    let java = Java::without_topic(variable("IDEM_TEST_ROCKETMQ"), "later").await;
    let log = Log::default();
    let route = log.handler(&java.topic, |_, _| Ok(()));
    let consumer = java.member(&MemoryStore::new(), route).start().await.unwrap();
    // Longer than the client looks for it eagerly.
    tokio::time::sleep(secs(12)).await;
    java.bench.create_topic(&java.topic, 4).await.unwrap();
    let created = Instant::now();
    java.send("first").await;
    let runs = log.until(1, SOON).await;
    let took = runs[0].at - created;
    println!("the first message was handled {took:.2?} after its topic had come");
    assert!(took < secs(3), "{took:?}");
    java.until_acked().await;
    consumer.shutdown().await;
}

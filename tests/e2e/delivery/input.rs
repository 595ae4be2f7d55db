//! Messages that cannot be handled become dead letters or are skipped, and the rest is handled.
//!
//! Run alone: `cargo test --workspace --all-features --test e2e -- delivery::input::`

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use idem_rocketmq::batch_handler;
use idem_rocketmq::codec::{Bytes, Codec, Text};
use idem_rocketmq::embedded::Outgoing;
use idem_rocketmq::handler::{KeySource, handler_with};
use idem_rocketmq::prelude::*;
use idem_rocketmq::settings::{FingerprintMismatch, MissingKey, Undecodable};
use idem_rocketmq::testing::{Outcome, Verdict};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::support::kit::{self, Runs, SOON, why};
use crate::support::place::{Place, on_both};

const MEBIBYTE: usize = 1 << 20;

/// A key that may be absent.
#[derive(Deserialize)]
struct Keyless {
    id: Option<String>,
}

on_both! {
    async fn what_cannot_be_handled_becomes_a_dead_letter_with_its_reason_and_the_rest_is_handled(place: Plain of 2) {
        let runs = Runs::default();
        let seen = runs.clone();
        let route = handler(&place.topic, move |order: Keyless| {
            seen.add(&order.id.unwrap_or_default());
            async {}
        })
        .key(|order| IdempotencyKey::new(&order.id));
        let bad = [
            ("not json", r"this is no JSON".to_owned()),
            ("cut", r#"{"id":"1"#.to_owned()),
            ("type", r#"{"id":[1]}"#.to_owned()),
            ("absent", "{}".to_owned()),
            ("null", r#"{"id":null}"#.to_owned()),
            ("empty", r#"{"id":""}"#.to_owned()),
            ("long", format!(r#"{{"id":"{}"}}"#, "k".repeat(8 * 1024 + 1))),
        ];
        for (case, body) in bad.clone() {
            place.send(Outgoing::new(&place.topic, body).property("case", case)).await;
        }
        place.send_all(place.orders(20)).await;
        let consumer = place.member(&MemoryStore::new(), [route]).start().await.unwrap();

        runs.until_total(20, SOON).await;
        let letters = place.until_dead_letters(bad.len()).await;
        consumer.shutdown().await;
        assert_eq!(runs.keys(), 20);
        let of = |case: &str| letters.iter().find(|letter| letter.property("case") == Some(case)).unwrap();
        for (case, body) in &bad {
            assert_eq!(of(case).body, body.as_bytes(), "{case}");
        }
        let undecodable = |reason| ("undecodable", "1", reason);
        let unfit = "the JSON does not fit the payload's type: `id`: expected a string, found an array, at line 1 column 6";
        assert_eq!(why(of("not json")), undecodable("the body is no JSON, at line 1 column 2"));
        assert_eq!(why(of("cut")), undecodable("the JSON ends too early, at line 1 column 8"));
        assert_eq!(why(of("type")), undecodable(unfit));
        let keyless = |reason| ("missing_key", "1", reason);
        let missing = "the idempotency key is missing: part 1 has no value";
        assert_eq!(why(of("absent")), keyless(missing));
        assert_eq!(why(of("null")), keyless(missing));
        assert_eq!(why(of("empty")), keyless("the idempotency key is empty: part 1 has no characters"));
        let long = "the idempotency key is too long: 8193 bytes, at most 8192 are allowed";
        assert_eq!(why(of("long")), keyless(long));
        assert_eq!(place.backlog().await, 0);
        assert!(place.retries().await.is_empty());
    }
}

/// RocketMQ's own producers send no empty body, others might.
#[tokio::test]
async fn an_empty_body_is_no_json_and_no_panic() {
    let consumer = Consumer::builder("g")
        .store(MemoryStore::new())
        .handlers([kit::counting("orders", &Runs::default())])
        .test()
        .unwrap();
    let decision = consumer.deliver(Delivery::builder("orders").build()).await;
    assert_eq!((decision.verdict, decision.outcome), (Verdict::DeadLetter, Outcome::Undecodable));
}

#[tokio::test]
async fn known_json_in_another_order_is_a_duplicate_and_other_json_a_mismatch() {
    let runs = Runs::default();
    let route = kit::counting("orders", &runs).fingerprint(FingerprintMismatch::DeadLetter);
    let batch = batch_handler("lines", |_: Vec<kit::Order>| async {}).key(|order| order.id.clone());
    let batch = batch.fingerprint(FingerprintMismatch::DeadLetter);
    let consumer = Consumer::builder("g").store(MemoryStore::new()).handlers([route, batch]).test().unwrap();
    for topic in ["orders", "lines"] {
        let outcome = async |body: &'static str| {
            consumer.deliver(Delivery::builder(topic).body(body).build()).await.outcome
        };
        assert_eq!(outcome(r#"{"id":"1","cents":5,"to":{"a":1,"b":2}}"#).await, Outcome::Completed);
        assert_eq!(outcome(r#"{ "to": {"b":2, "a":1}, "cents": 5, "id": "1" }"#).await, Outcome::Duplicate);
        assert_eq!(outcome(r#"{"id":"1","cents":6,"to":{"a":1,"b":2}}"#).await, Outcome::FingerprintMismatch);
    }
    assert_eq!(runs.total(), 1);
}

/// A batch handler's messages are decoded one by one, too.
#[tokio::test]
async fn a_dead_letter_says_which_field_does_not_fit_and_not_what_is_in_it() {
    let one = kit::counting("orders", &Runs::default());
    let many = batch_handler("lines", |_: Vec<kit::Order>| async {}).key(|order| order.id.clone());
    let consumer = Consumer::builder("g").store(MemoryStore::new()).handlers([one, many]).test().unwrap();
    for topic in ["orders", "lines"] {
        let body = format!(r#"{{"id":{{"{0}":"{0}"}}}}"#, kit::MARKER);
        let decision = consumer.deliver(Delivery::builder(topic).body(body).build()).await;
        assert_eq!((decision.verdict, decision.outcome), (Verdict::DeadLetter, Outcome::Undecodable));
        assert_eq!(
            decision.reason.as_deref(),
            Some(
                "the JSON does not fit the payload's type: `id`: expected a string, found an object, at line 1 column 6"
            )
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn four_mebibytes_are_handled_and_become_a_dead_letter_as_they_are() {
    let place = Place::plain(1).await;
    let lengths: Arc<Mutex<Vec<usize>>> = Arc::default();
    let seen = lengths.clone();
    let route = handler_with(&place.topic, Text, move |text: String| {
        seen.lock().unwrap().push(text.len());
        async {}
    })
    .key_from(KeySource::MessageKeys);
    // Random, so that no compression makes it small.
    let mut rng = StdRng::seed_from_u64(4);
    let size = 4 * MEBIBYTE - 4_096;
    let good: String = (0..size).map(|_| char::from(rng.random_range(b' '..=b'~'))).collect();
    let bad: Vec<u8> = std::iter::once(0xff).chain((1..size).map(|_| rng.random())).collect();
    place.send(Outgoing::new(&place.topic, good).key("good")).await;
    place.send(Outgoing::new(&place.topic, bad.clone()).key("bad")).await;
    let consumer = place.member(&MemoryStore::new(), [route]).start().await.unwrap();

    let letters = place.until_dead_letters(1).await;
    kit::until_equal("runs", 1, SOON, async || lengths.lock().unwrap().len()).await;
    consumer.shutdown().await;
    assert_eq!(*lengths.lock().unwrap(), [size]);
    assert!(letters[0].body == bad);
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_random_bodies_harm_no_good_message_among_them() {
    const GOOD: usize = 12_000;
    const BAD: usize = 10_000;
    const LONG: Duration = Duration::from_mins(5);
    let place = Place::plain(4).await;
    let runs = Runs::default();
    let mut rng = StdRng::seed_from_u64(22);
    let mut messages = place.orders(GOOD);
    let mut number = 0;
    // Ten bad ones behind each twelve good ones, so that they never are the most for long.
    for good in (1..=GOOD / 12).rev() {
        for _ in 0..10 {
            let length = rng.random_range(1..200);
            let body: Vec<u8> = (0..length).map(|_| rng.random()).collect();
            let message = Outgoing::new(&place.topic, body).property("number", number.to_string());
            messages.insert(good * 12, message);
            number += 1;
        }
    }
    assert_eq!(messages.len(), GOOD + BAD);
    place.send_all(messages).await;
    // A batch whose confirmation came late is there twice.
    let stored = place.bench.read_all(&place.topic).await.unwrap();
    let bad = stored.iter().filter(|message| message.property("number").is_some()).count();
    let route = kit::counting(&place.topic, &runs);
    let consumer = place.member(&MemoryStore::new(), [route]).start().await.unwrap();

    let dead = || place.counted("undecodable");
    runs.until_total(GOOD, LONG).await;
    // The last ones may be held, where they were most of the last hundred; good ones set them free.
    let sent = std::cell::Cell::new(GOOD);
    kit::until("each bad message is a dead letter", LONG, async || {
        if dead() < bad as u64 && runs.total() == sent.get() {
            place.send(place.order(sent.replace(sent.get() + 1))).await;
        }
        dead() == bad as u64
    })
    .await;
    runs.until_total(sent.get(), SOON).await;
    // They are counted before they are sent. Of a group that has read nothing, all of them are the backlog.
    let letters = place.dead_letter_topic();
    let stored = async || place.bench.backlog("nobody", &letters).await.unwrap();
    kit::until("each dead letter is stored", LONG, async || stored().await >= bad as u64).await;
    consumer.shutdown().await;
    assert!(sent.get() < GOOD + 60, "{sent:?}");
    assert_eq!(runs.keys(), sent.get());
    // One whose confirmation came late is sent again, and counts once.
    let letters = place.dead_letters().await;
    let numbers: BTreeSet<_> = letters.iter().filter_map(|letter| letter.property("number")).collect();
    assert_eq!(numbers.len(), BAD);
    assert!(letters.len() < bad + BAD / 100, "{} dead letters", letters.len());
    for letter in &letters {
        let (outcome, attempts, reason) = why(letter);
        assert_eq!((outcome, attempts), ("undecodable", "1"));
        assert!(reason.contains("JSON"), "{reason}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_without_a_key_runs_where_the_policy_says_so() {
    let place = Place::plain(2).await;
    let runs = Runs::default();
    let seen = runs.clone();
    let route = handler_with(&place.topic, Text, move |line: String, key: Option<IdempotencyKey>| {
        assert_eq!(key.is_none(), line == "keyless");
        seen.add(&line);
        async {}
    })
    .key_from(KeySource::MessageKeys)
    .missing_key(MissingKey::RunWithoutDedup);
    for _ in 0..3 {
        place.send(Outgoing::new(&place.topic, "keyless")).await;
        place.send(Outgoing::new(&place.topic, "keyed").key("k")).await;
    }
    let consumer = place.member(&MemoryStore::new(), [route]).start().await.unwrap();
    kit::until_equal("outcomes", 6, SOON, async || kit::outcomes(&place.group).len()).await;
    consumer.shutdown().await;
    assert_eq!((runs.of("keyless"), runs.of("keyed")), (3, 1));
    assert!(place.dead_letters().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undecodable_message_is_retried_where_the_policy_says_so_and_then_becomes_a_dead_letter() {
    let place = Place::plain(1).await;
    let route = kit::counting(&place.topic, &Runs::default()).undecodable(Undecodable::Retry);
    let route = route.max_attempts(3).backoff(kit::secondly());
    place.send(Outgoing::new(&place.topic, "no JSON")).await;
    let consumer = place.member(&MemoryStore::new(), [route]).start().await.unwrap();
    let letters = place.until_dead_letters(1).await;
    consumer.shutdown().await;
    assert_eq!(why(&letters[0]), ("undecodable", "3", "the body is no JSON, at line 1 column 2"));
    assert_eq!(kit::outcomes(&place.group).len(), 3);
    assert_eq!(place.retries().await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_in_a_codec_or_a_key_function_is_a_dead_letter_and_harms_no_other() {
    struct Touchy;
    impl Codec<String> for Touchy {
        fn decode(&self, body: &Bytes) -> Result<String, idem_rocketmq::codec::DecodeError> {
            let text = String::from_utf8_lossy(body).into_owned();
            assert!(text != "codec", "the codec does not like it");
            Ok(text)
        }
    }
    let place = Place::plain(1).await;
    let runs = Runs::default();
    let seen = runs.clone();
    let route = handler_with(&place.topic, Touchy, move |line: String| {
        seen.add(&line);
        async {}
    })
    .key(|line| {
        assert!(line != "key", "the key function does not like it");
        line.clone()
    });
    for line in ["codec", "key"] {
        place.send(Outgoing::new(&place.topic, line)).await;
    }
    let lines = (0..30).map(|line| Outgoing::new(&place.topic, line.to_string()));
    place.send_all(lines.collect()).await;
    let consumer = place.member(&MemoryStore::new(), [route]).start().await.unwrap();
    let letters = place.until_dead_letters(2).await;
    runs.until_total(30, SOON).await;
    consumer.shutdown().await;
    let of = |line: &str| why(letters.iter().find(|letter| letter.body == line.as_bytes()).unwrap());
    assert_eq!(of("codec"), ("undecodable", "1", "the codec panicked"));
    assert_eq!(of("key"), ("undecodable", "1", "the function that computes the key panicked"));
    assert!(place.retries().await.is_empty());
}

//! Messages that cannot be handled.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use idem_rocketmq::embedded::{Outgoing, StoredMessage};
use idem_rocketmq::prelude::*;
use idem_rocketmq::testing::{Outcome, Verdict};
use idem_rocketmq::{Credentials, MissingKey, Undecodable};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::kit::{self, MARKER, Order, Runs, SOON};

const MEBIBYTE: usize = 1 << 20;

/// What comes with a dead letter of idem's.
fn why(letter: &StoredMessage) -> (&str, &str, &str) {
    let property = |name| letter.property(name).unwrap_or("none");
    (property("IDEM_OUTCOME"), property("IDEM_ATTEMPTS"), property("IDEM_REASON"))
}

/// A key that may be absent.
#[derive(Deserialize)]
struct Keyless {
    id: Option<String>,
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_handled_becomes_a_dead_letter_with_its_reason_and_the_rest_is_handled() {
    let broker = kit::broker("orders", 2).await;
    let runs = Runs::default();
    let seen = runs.clone();
    let route = handler("orders", move |order: Keyless| {
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
        broker.producer().send(Outgoing::new("orders", body).property("case", case)).await.unwrap();
    }
    broker.producer().send_all(kit::orders("orders", 20)).await.unwrap();
    let consumer = kit::member(&broker, "unfit", &MemoryStore::new(), [route]).start().await.unwrap();

    runs.until_total(20, SOON).await;
    kit::until_equal("dead letters", bad.len(), SOON, async || {
        kit::dead_letters(&broker, "unfit").await.len()
    })
    .await;
    consumer.shutdown().await;
    assert_eq!(runs.keys(), 20);
    let letters = kit::dead_letters(&broker, "unfit").await;
    let of = |case: &str| letters.iter().find(|letter| letter.property("case") == Some(case)).unwrap();
    for (case, body) in &bad {
        assert_eq!(of(case).body, body.as_bytes(), "{case}");
    }
    let undecodable = |reason| ("undecodable", "1", reason);
    assert_eq!(why(of("not json")), undecodable("the body is no JSON, at line 1 column 2"));
    assert_eq!(why(of("cut")), undecodable("the JSON ends too early, at line 1 column 8"));
    assert_eq!(why(of("type")), undecodable("the JSON does not fit the payload's type, at line 1 column 6"));
    let keyless = |reason| ("missing_key", "1", reason);
    let missing = "the idempotency key is missing: part 1 has no value";
    assert_eq!(why(of("absent")), keyless(missing));
    assert_eq!(why(of("null")), keyless(missing));
    assert_eq!(why(of("empty")), keyless("the idempotency key is empty: part 1 has no characters"));
    let long = "the idempotency key is too long: 8193 bytes, at most 8192 are allowed";
    assert_eq!(why(of("long")), keyless(long));
    assert_eq!(kit::backlog(&broker, "unfit", "orders").await, 0);
    broker.shutdown().await;
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

#[tokio::test(flavor = "multi_thread")]
async fn four_mebibytes_are_handled_and_become_a_dead_letter_as_they_are() {
    let broker = kit::broker("large", 1).await;
    let lengths: Arc<Mutex<Vec<usize>>> = Arc::default();
    let seen = lengths.clone();
    let route = handler_with("large", Text, move |text: String| {
        seen.lock().unwrap().push(text.len());
        async {}
    })
    .key_from(KeySource::MessageKeys);
    // Random, so that no compression makes it small.
    let mut rng = StdRng::seed_from_u64(4);
    let size = 4 * MEBIBYTE - 4_096;
    let good: String = (0..size).map(|_| char::from(rng.random_range(b' '..=b'~'))).collect();
    let bad: Vec<u8> = std::iter::once(0xff).chain((1..size).map(|_| rng.random())).collect();
    broker.producer().send(Outgoing::new("large", good).key("good")).await.unwrap();
    broker.producer().send(Outgoing::new("large", bad.clone()).key("bad")).await.unwrap();
    let consumer = kit::member(&broker, "large", &MemoryStore::new(), [route]).start().await.unwrap();

    kit::until_equal("dead letters", 1, SOON, async || kit::dead_letters(&broker, "large").await.len()).await;
    kit::until_equal("runs", 1, SOON, async || lengths.lock().unwrap().len()).await;
    consumer.shutdown().await;
    assert_eq!(*lengths.lock().unwrap(), [size]);
    assert!(kit::dead_letters(&broker, "large").await[0].body == bad);
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_random_bodies_harm_no_good_message_among_them() {
    const GOOD: usize = 12_000;
    const BAD: usize = 10_000;
    const LONG: Duration = Duration::from_mins(5);
    let broker = kit::broker("orders", 4).await;
    let runs = Runs::default();
    let mut rng = StdRng::seed_from_u64(22);
    let mut messages = kit::orders("orders", GOOD);
    let mut number = 0;
    // Ten bad ones behind each twelve good ones, so that they never are the most for long.
    for good in (1..=GOOD / 12).rev() {
        for _ in 0..10 {
            let length = rng.random_range(1..200);
            let body: Vec<u8> = (0..length).map(|_| rng.random()).collect();
            messages.insert(good * 12, Outgoing::new("orders", body).property("number", number.to_string()));
            number += 1;
        }
    }
    assert_eq!(messages.len(), GOOD + BAD);
    broker.producer().send_all(messages).await.unwrap();
    let route = kit::counting("orders", &runs);
    let consumer = kit::member(&broker, "random", &MemoryStore::new(), [route]).start().await.unwrap();

    let dead = || kit::counted("idem_messages_total", &[("group", "random"), ("outcome", "undecodable")]);
    runs.until_total(GOOD, LONG).await;
    // The last ones may be held, where they were most of the last hundred; good ones set them free.
    let sent = std::cell::Cell::new(GOOD);
    kit::until("each bad message is a dead letter", LONG, async || {
        if dead() < BAD as u64 && runs.total() == sent.get() {
            broker.producer().send(kit::order("orders", sent.replace(sent.get() + 1))).await.unwrap();
        }
        dead() == BAD as u64
    })
    .await;
    runs.until_total(sent.get(), SOON).await;
    // They are counted before they are sent. Of a group that has read nothing, all of them are the backlog.
    let stored = async || kit::backlog(&broker, "nobody", "%DLQ%random").await;
    kit::until("each dead letter is stored", LONG, async || stored().await == BAD as u64).await;
    consumer.shutdown().await;
    assert!(sent.get() < GOOD + 60, "{sent:?}");
    assert_eq!(runs.keys(), sent.get());
    let letters = kit::dead_letters(&broker, "random").await;
    let numbers: BTreeSet<_> = letters.iter().filter_map(|letter| letter.property("number")).collect();
    assert_eq!((letters.len(), numbers.len()), (BAD, BAD));
    for letter in &letters {
        let (outcome, attempts, reason) = why(letter);
        assert_eq!((outcome, attempts), ("undecodable", "1"));
        assert!(reason.contains("JSON"), "{reason}");
    }
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_a_bad_deploy_cannot_read_is_held_until_the_right_one_comes() {
    const SENT: usize = 250;
    let broker = kit::broker("orders", 4).await;
    let (runs, group) = (Runs::default(), "bad-deploy");
    let bodies = (0..SENT).map(|number| Outgoing::new("orders", format!("order {number}")));
    broker.producer().send_all(bodies.collect()).await.unwrap();
    let wrong = kit::counting("orders", &runs).named("wrong_codec");
    let bad = kit::member(&broker, group, &MemoryStore::new(), [wrong]);
    let bad = bad.start().await.unwrap();

    let held = || kit::events(|event| event.is("handler", "wrong_codec") && event.is("what", "Undecodable"));
    kit::until("all others are held", SOON, async || held().len() >= SENT - 51).await;
    let decided = || kit::outcomes(group).len();
    kit::until("the first ones are dead letters", SOON, async || {
        decided() + held().len() == SENT && kit::dead_letters(&broker, group).await.len() == decided()
    })
    .await;
    assert!((1..=51).contains(&decided()), "{}", decided());
    assert!(held().iter().all(|event| event.level == tracing::Level::ERROR));
    assert!(held()[0].field("message").unwrap().contains("check the payload's type and the codec"));
    assert!(kit::counted("idem_unfit_holds_total", &[]) >= 199);
    assert!(kit::backlog(&broker, group, "orders").await >= (SENT - 51) as u64);
    bad.shutdown().await;
    assert!(kit::backlog(&broker, group, "orders").await >= (SENT - 51) as u64);
    assert_eq!(runs.total(), 0);

    let seen = runs.clone();
    let good = handler_with("orders", Text, move |text: String| {
        seen.add(&text);
        async {}
    })
    .key(String::clone);
    let good = kit::member(&broker, group, &MemoryStore::new(), [good]).start().await.unwrap();
    kit::until("all held ones are handled", SOON, async || kit::backlog(&broker, group, "orders").await == 0)
        .await;
    good.shutdown().await;
    let letters: BTreeSet<_> = kit::dead_letters(&broker, group).await.into_iter().map(|m| m.body).collect();
    assert!(letters.len() <= 51);
    for number in 0..SENT {
        let body = format!("order {number}");
        assert!(runs.of(&body) == 1 || letters.contains(body.as_bytes()), "{body}");
    }
    assert_eq!(runs.repeated(), Vec::<String>::new());
    broker.shutdown().await;
}

/// A rolling deploy, on its way back: only the older member is there, which knows tag X and not yet tag Y.
#[tokio::test(flavor = "multi_thread")]
async fn a_retry_that_this_member_has_no_handler_for_is_never_acked() {
    let broker = kit::broker("orders", 2).await;
    let (store, group) = (MemoryStore::new(), "rolling");
    let (x, y) = (Runs::default(), Runs::default());
    let fails = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let newer = || {
        let (runs, fails) = (y.clone(), fails.clone());
        let of_y = handler("orders", move |order: Order| {
            runs.add(&order.id);
            let result =
                if fails.load(std::sync::atomic::Ordering::SeqCst) { Err("not yet") } else { Ok(()) };
            async move { result }
        });
        let of_y = of_y.key(|order| order.id.clone()).tag("Y").named("y");
        kit::member(&broker, group, &store, [kit::counting("orders", &x).tag("X").named("x"), of_y])
    };
    broker.producer().send(kit::order("orders", "y").tag("Y")).await.unwrap();
    let a = newer().start().await.unwrap();
    kit::until("Y has failed", SOON, async || kit::retries(&broker, group).await.len() == 1).await;
    a.shutdown().await;
    let failed = y.of("y");

    let b =
        kit::member(&broker, group, &store, [kit::counting("orders", &x).tag("X")]).start().await.unwrap();
    let unhandled = || kit::outcomes(group).into_iter().filter(|event| event.is("outcome", "no_handler"));
    kit::until("the other member sends it on, twice", SOON, async || unhandled().count() >= 2).await;
    assert!(unhandled().all(|event| event.level == tracing::Level::ERROR && event.is("tag", "Y")));
    broker.producer().send(kit::order("orders", "x").tag("X")).await.unwrap();
    x.until_total(1, SOON).await;
    b.shutdown().await;
    assert_eq!(y.of("y"), failed);

    fails.store(false, std::sync::atomic::Ordering::SeqCst);
    let a = newer().start().await.unwrap();
    y.until_total(failed + 1, SOON).await;
    a.shutdown().await;
    assert!(kit::dead_letters(&broker, group).await.is_empty());
    let attempts: Vec<_> = kit::outcomes(group)
        .into_iter()
        .filter(|event| event.is("outcome", "completed") && event.is("tag", "Y"))
        .map(|event| event.field("attempt").unwrap().to_owned())
        .collect();
    assert_eq!(attempts, [(failed + 1).to_string()], "being sent on costs no attempt");
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_without_a_key_runs_where_the_policy_says_so() {
    let broker = kit::broker("lines", 2).await;
    let runs = Runs::default();
    let seen = runs.clone();
    let route = handler_with("lines", Text, move |line: String, key: Option<IdempotencyKey>| {
        assert_eq!(key.is_none(), line == "keyless");
        seen.add(&line);
        async {}
    })
    .key_from(KeySource::MessageKeys)
    .missing_key(MissingKey::RunWithoutDedup);
    for _ in 0..3 {
        broker.producer().send(Outgoing::new("lines", "keyless")).await.unwrap();
        broker.producer().send(Outgoing::new("lines", "keyed").key("k")).await.unwrap();
    }
    let consumer = kit::member(&broker, "keyless", &MemoryStore::new(), [route]).start().await.unwrap();
    kit::until_equal("outcomes", 6, SOON, async || kit::outcomes("keyless").len()).await;
    consumer.shutdown().await;
    assert_eq!((runs.of("keyless"), runs.of("keyed")), (3, 1));
    assert!(kit::dead_letters(&broker, "keyless").await.is_empty());
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undecodable_message_is_retried_where_the_policy_says_so_and_then_becomes_a_dead_letter() {
    let broker = kit::broker("orders", 1).await;
    let route = kit::counting("orders", &Runs::default()).undecodable(Undecodable::Retry).max_attempts(3);
    broker.producer().send(Outgoing::new("orders", "no JSON")).await.unwrap();
    let consumer = kit::member(&broker, "again", &MemoryStore::new(), [route]).start().await.unwrap();
    kit::until_equal("dead letters", 1, SOON, async || kit::dead_letters(&broker, "again").await.len()).await;
    consumer.shutdown().await;
    let letters = kit::dead_letters(&broker, "again").await;
    assert_eq!(why(&letters[0]), ("undecodable", "3", "the body is no JSON, at line 1 column 2"));
    assert_eq!(kit::outcomes("again").len(), 3);
    assert_eq!(kit::retries(&broker, "again").await.len(), 2);
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_message_becomes_a_dead_letter_at_once_with_reason_key_and_attempts() {
    let broker = kit::broker("orders", 1).await;
    let runs = Runs::default();
    let seen = runs.clone();
    let route = handler("orders", move |order: Order| {
        seen.add(&order.id);
        async { HandlerResult::Err(Reject::new("a negative amount").into()) }
    })
    .key(|order| order.id.clone());
    broker.producer().send(kit::order("orders", "order-7").tag("PAID").key("k7")).await.unwrap();
    let consumer = kit::member(&broker, "reject", &MemoryStore::new(), [route]).start().await.unwrap();
    kit::until_equal("dead letters", 1, SOON, async || kit::dead_letters(&broker, "reject").await.len())
        .await;
    consumer.shutdown().await;
    let letter = &kit::dead_letters(&broker, "reject").await[0];
    assert_eq!(why(letter), ("rejected", "1", "a negative amount"));
    let properties = ["IDEM_KEY", "TAGS", "KEYS", "RETRY_TOPIC"].map(|name| letter.property(name).unwrap());
    assert_eq!(properties, ["order-7", "PAID", "k7", "orders"]);
    assert_eq!(runs.total(), 1);
    assert!(kit::retries(&broker, "reject").await.is_empty());
    broker.shutdown().await;
}

/// Two members share the store, so that duplicates meet runs of their own process and of the other.
#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_comes_after_exactly_three_runs_however_many_duplicates_lie_between() {
    let broker = kit::broker("orders", 8).await;
    let (store, group) = (MemoryStore::new(), "three");
    let attempts: Arc<Mutex<Vec<u32>>> = Arc::default();
    let joined = Runs::default();
    let member = |name: &'static str| {
        let (seen, joined) = (attempts.clone(), joined.clone());
        let route = handler("orders", move |order: Order, attempt: Attempt| {
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
                tokio::time::sleep(Duration::from_millis(700)).await;
                HandlerResult::Err("the bank is closed".into())
            }
        });
        let route = route.key(|order| order.id.clone()).max_attempts(3).named("three");
        kit::member(&broker, group, &store, [route])
    };
    let (one, two) = (member("one").start().await.unwrap(), member("two").start().await.unwrap());
    for early in 0.. {
        broker.producer().send(kit::order("orders", format!("early-{early}"))).await.unwrap();
        if joined.keys() == 2 && kit::backlog(&broker, group, "orders").await == 0 {
            break;
        }
        assert!(early < 1_000, "one member gets nothing");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut sent = 0;
    while attempts.lock().unwrap().len() < 6 {
        assert!(sent < 200, "{:?}", attempts.lock().unwrap());
        let message = kit::order("orders", "order-7").property("number", sent.to_string());
        broker.producer().send(message).await.unwrap();
        sent += 1;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    // A message of a queue that moves may come to both, and each delivery ends as a dead letter.
    kit::until_equal("messages with a dead letter", sent, Duration::from_mins(2), async || {
        let letters = kit::dead_letters(&broker, group).await;
        letters.iter().filter_map(|letter| letter.property("number")).collect::<BTreeSet<_>>().len()
    })
    .await;
    one.shutdown().await;
    two.shutdown().await;

    let conflicts = kit::outcomes(group).iter().filter(|event| event.is("outcome", "in_progress")).count();
    assert!(conflicts > 0);
    let attempts = attempts.lock().unwrap().clone();
    let rounds: Vec<u32> = (0..attempts.len()).map(|run| u32::try_from(run % 3).unwrap() + 1).collect();
    assert_eq!(attempts, rounds, "three runs, then a dead letter, each time");
    for letter in kit::dead_letters(&broker, group).await {
        assert_eq!(why(&letter), ("exhausted", "3", "the bank is closed"));
        assert_eq!(letter.property("IDEM_KEY"), Some("order-7"));
    }
    broker.shutdown().await;
}

#[derive(Debug, Clone, Deserialize)]
struct Secret {
    id: String,
    #[serde(default)]
    fails: bool,
}

/// Each message has one outcome event, and no log line holds what a message holds.
#[tokio::test(flavor = "multi_thread")]
async fn each_message_has_one_outcome_event_and_no_line_shows_key_payload_or_secret() {
    let broker = kit::broker("secrets", 2).await;
    let route = handler("secrets", |secret: Secret, attempt: Attempt| async move {
        if secret.fails && attempt.number() == 1 {
            return Err("no");
        }
        Ok(())
    })
    .key(|secret| secret.id.clone())
    .named("keep");
    let message = |id: &str, fails| {
        let body = format!(r#"{{"id":"{id}-{MARKER}","card":"{MARKER}","fails":{fails}}}"#);
        Outgoing::new("secrets", body).tag("PAID").key(MARKER).property("card", MARKER)
    };
    let producer = broker.producer();
    producer.send(message("done", false)).await.unwrap();
    producer.send(message("again", true)).await.unwrap();
    producer.send(Outgoing::new("secrets", format!(r#"{{"id":{{"{MARKER}":1}}}}"#))).await.unwrap();
    producer.send(Outgoing::new("secrets", format!(r#"{{"id":"","card":"{MARKER}"}}"#))).await.unwrap();
    let credentials = Credentials::new(MARKER, MARKER).security_token(MARKER);
    let builder =
        kit::member(&broker, "secrets", &MemoryStore::new(), [route]).credentials(credentials.clone());
    let debugs = format!("{builder:?} {credentials:?}");
    let consumer = builder.start().await.unwrap();
    kit::until_equal("outcomes", 5, SOON, async || kit::outcomes("secrets").len()).await;
    producer.send(message("done", false)).await.unwrap();
    kit::until_equal("outcomes", 6, SOON, async || kit::outcomes("secrets").len()).await;
    let debugs = format!("{debugs} {consumer:?}");
    consumer.shutdown().await;
    let delivery = Delivery::builder("t").keys(MARKER).property("card", MARKER).body(MARKER).build();
    let debugs = format!("{debugs} {delivery:?} {:?}", IdempotencyKey::new(MARKER));
    assert!(!debugs.contains(MARKER), "{debugs}");
    assert_eq!(kit::leaks(), Vec::<String>::new());

    let mut counts = BTreeMap::<_, usize>::new();
    let mut ids = BTreeSet::new();
    for event in kit::outcomes("secrets") {
        *counts.entry(event.field("outcome").unwrap().to_owned()).or_default() += 1;
        assert!(event.is("topic", "secrets") && event.is("handler", "keep"));
        assert!(ids.insert(event.field("message_id").unwrap().to_owned()), "two events of one delivery");
        let (attempt, hash) = (event.field("attempt").unwrap(), event.field("key_hash"));
        match event.field("outcome").unwrap() {
            "undecodable" | "missing_key" => {
                assert_eq!((attempt, hash, event.field("tag")), ("0", None, None));
            }
            outcome => {
                let ran = if outcome == "duplicate" { 0..=0 } else { 1..=2 };
                assert!(ran.contains(&attempt.parse::<i32>().unwrap()), "{outcome}: {attempt}");
                assert!(hash.is_some_and(|hash| hash.len() == 16) && event.is("tag", "PAID"));
            }
        }
    }
    let wanted = [("completed", 2), ("duplicate", 1), ("failed", 1), ("missing_key", 1), ("undecodable", 1)];
    assert_eq!(counts, wanted.map(|(name, count)| (name.to_owned(), count)).into());
    broker.shutdown().await;
}

/// A codec or a key function of the user's that panics is one message's fault.
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
    let broker = kit::broker("lines", 1).await;
    let runs = Runs::default();
    let seen = runs.clone();
    let route = handler_with("lines", Touchy, move |line: String| {
        seen.add(&line);
        async {}
    })
    .key(|line| {
        assert!(line != "key", "the key function does not like it");
        line.clone()
    });
    let lines = ["codec", "key"].into_iter().map(str::to_owned).chain((0..30).map(|n| n.to_string()));
    broker.producer().send_all(lines.map(|line| Outgoing::new("lines", line)).collect()).await.unwrap();
    let consumer = kit::member(&broker, "touchy", &MemoryStore::new(), [route]).start().await.unwrap();
    kit::until_equal("dead letters", 2, SOON, async || kit::dead_letters(&broker, "touchy").await.len())
        .await;
    runs.until_total(30, SOON).await;
    consumer.shutdown().await;
    let letters = kit::dead_letters(&broker, "touchy").await;
    let of = |line: &str| why(letters.iter().find(|letter| letter.body == line.as_bytes()).unwrap());
    assert_eq!(of("codec"), ("undecodable", "1", "the codec panicked"));
    assert_eq!(of("key"), ("undecodable", "1", "the function that computes the key panicked"));
    assert!(kit::retries(&broker, "touchy").await.is_empty());
    broker.shutdown().await;
}

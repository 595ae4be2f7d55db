//! Messages of idem's producer, as brokers store them and consumers see them.
//!
//! Run alone: `cargo test --workspace --all-features --test e2e -- producer::sending::`

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use idem_rocketmq::RunningConsumer;
use idem_rocketmq::codec::Text;
use idem_rocketmq::handler::{KeySource, handler_with};
use idem_rocketmq::prelude::*;
use idem_rocketmq::producer::{ProducerBuilder, TransactionError, TransactionState};

use crate::support::kit::{self, MARKER, Runs, SOON, counted, until};
use crate::support::place::{Kind, OfThisRun, Place, on_both};

const ORDERS: OfThisRun = OfThisRun("orders");

#[derive(Serialize, Deserialize, Message)]
#[message(topic = ORDERS, tag = "PAID", key = ("tenant", "id"), order_by = "buyer")]
struct Paid {
    tenant: String,
    id: u64,
    buyer: u64,
}

fn paid(id: u64, buyer: u64) -> Paid {
    Paid { tenant: "a b".to_owned(), id, buyer }
}

fn note(topic: &str, key: &str) -> OutgoingMessage {
    OutgoingMessage::new(topic, key, format!("note {key}"))
}

/// Counts by the body, under the producer's key.
async fn count(place: &Place, runs: &Runs) -> RunningConsumer {
    let runs = runs.clone();
    let handler = handler_with(&place.topic, Text, move |text: String| {
        runs.add(&text);
        async {}
    });
    let route = handler.key_from(KeySource::ProducerKey);
    place.member(&MemoryStore::new(), [route]).start().await.unwrap()
}

/// How many messages the place's group has had.
fn handled(place: &Place) -> u64 {
    counted("idem_messages_total", &[("group", &place.group)])
}

on_both! {
    async fn a_derived_message_brings_its_key_tag_order_and_json(place: Plain of 1) {
        let topic = String::from(ORDERS);
        place.bench.create_topic(&topic, 4).await.unwrap();
        let producer = Producer::builder(&place.group).name_server(place.name_server()).start().await.unwrap();
        for id in 0..4 {
            producer.send(&paid(id, 7)).await.unwrap();
        }
        let stored = place.bench.read_all(&topic).await.unwrap();
        assert_eq!(stored.len(), 4);
        assert!(stored.iter().all(|message| message.queue_id == stored[0].queue_id), "one buyer, one queue");
        let offsets: Vec<_> = stored.iter().map(|message| message.offset).collect();
        assert_eq!(offsets, [0, 1, 2, 3]);
        let first = &stored[0];
        assert_eq!(first.property("TAGS"), Some("PAID"));
        assert_eq!(first.property("KEYS"), Some("a%20b 0"));
        assert_eq!(first.property("IDEM_PRODUCER_KEY"), Some("3:a%20b,1:0,"));
        assert_eq!(&first.body[..], br#"{"tenant":"a b","id":0,"buyer":7}"#);
        let sent = [("group", &*place.group), ("topic", &*topic), ("outcome", "sent")];
        assert_eq!(counted("idem_sent_total", &sent), 4);
        producer.shutdown().await;
        let error = producer.send(&paid(9, 7)).await.unwrap_err();
        assert!(error.to_string().contains(&format!("`{}` has been shut down", place.group)), "{error}");
    }

    async fn a_message_that_is_sent_twice_is_handled_once_by_the_producers_key(place: Plain of 4) {
        let runs = Runs::default();
        let consumer = count(&place, &runs).await;
        let producer = place.sender().start().await.unwrap();
        let note = note(&place.topic, "n 1");
        let first = producer.send(&note).await.unwrap();
        let second = producer.send(&note).await.unwrap();
        assert_ne!(first.unique_key(), second.unique_key());
        until("both deliveries", SOON, async || handled(&place) == 2).await;
        assert_eq!(runs.of("note n 1"), 1);
        consumer.shutdown().await;
    }

    async fn delayed_and_one_way_messages_come(place: Plain of 1) {
        let (runs, topic) = (Runs::default(), place.topic.as_str());
        let producer = place.sender().start().await.unwrap();
        producer.send(&note(topic, "first")).await.unwrap();
        let consumer = count(&place, &runs).await;
        runs.until_total(1, SOON).await;
        let begun = Instant::now();
        producer.send_one_way(&note(topic, "one way")).await.unwrap();
        producer.send_after(&note(topic, "after"), Duration::from_secs(4)).await.unwrap();
        producer.send_at(&note(topic, "at"), SystemTime::now() + Duration::from_secs(4)).await.unwrap();
        until("the one-way message", SOON, async || runs.of("note one way") == 1).await;
        assert_eq!(runs.total(), 2);
        runs.until_total(4, SOON).await;
        assert!(begun.elapsed() > Duration::from_secs(2), "{:?}", begun.elapsed());
        consumer.shutdown().await;
        producer.shutdown().await;
    }

    async fn only_local_work_that_succeeded_commits(place: Levels of 1) {
        let (ledger, topic) = (Ledger::answering(TransactionState::Rollback), place.topic.as_str());
        let producer = ledger.producer(&place).transaction_timeout(Duration::from_millis(200));
        let producer = producer.start().await.unwrap();
        producer.send(&note(topic, "first")).await.unwrap();
        let runs = Runs::default();
        let consumer = count(&place, &runs).await;
        runs.until_total(1, SOON).await;

        let value = producer.transaction(&note(topic, "good"), || async { Ok::<_, String>(7) }).await;
        assert_eq!(value.unwrap(), 7);
        until("the committed message", SOON, async || runs.of("note good") == 1).await;

        let failed = producer.transaction(&note(topic, "bad"), || async { Err::<(), _>("no") }).await;
        assert!(matches!(failed, Err(TransactionError::Failed("no"))), "{failed:?}");
        let panicked: Result<(), TransactionError<String>> =
            producer.transaction(&note(topic, "panic"), || async { panic!("on purpose") }).await;
        assert!(matches!(panicked, Err(TransactionError::Panicked)), "{panicked:?}");
        let late = producer
            .transaction(&note(topic, "late"), || async {
                tokio::time::sleep(SOON).await;
                Ok::<_, String>(())
            })
            .await;
        assert!(matches!(late, Err(TransactionError::TimedOut)), "{late:?}");
        until("three check-backs", Duration::from_mins(2), async || ledger.asked() >= 3).await;
        // The broker asks each second for what it has no answer to.
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(runs.total(), 2, "nothing but what was committed: {runs:?}");
        let error = producer.transaction(&note("elsewhere", "k"), || async { Ok::<_, String>(()) }).await;
        assert!(error.unwrap_err().to_string().contains(".check_back(\"elsewhere\", ..)"));
        consumer.shutdown().await;
        producer.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_messages_go_in_batches_by_topic_and_keep_their_order() {
    let place = Place::plain(4).await;
    let (many, others) = (place.topic.as_str(), place.another_topic(1).await);
    let producer = place.sender().start().await.unwrap();
    let mut messages: Vec<_> = (0..50).map(|n| note(many, &format!("{n:02}")).order_by(n % 3)).collect();
    messages.extend((0..50).map(|n| note(&others, &format!("{n:02}"))));
    producer.send_all(&messages).await.unwrap();
    let stored = place.bench.read_all(many).await.unwrap();
    assert_eq!(stored.len(), 50);
    for rest in 0..3 {
        let of: Vec<_> = stored
            .iter()
            .filter_map(|message| {
                let number: u64 = message.property("KEYS")?.parse().ok()?;
                (number % 3 == rest).then_some((message.queue_id, number))
            })
            .collect();
        assert!(of.windows(2).all(|pair| pair[0].0 == pair[1].0 && pair[0].1 < pair[1].1), "{of:?}");
    }
    let stored = place.bench.read_all(&others).await.unwrap();
    assert_eq!(stored.len(), 50);
    let keys: std::collections::BTreeSet<_> =
        stored.iter().filter_map(|message| message.property("IDEM_PRODUCER_KEY")).collect();
    assert_eq!(keys.len(), 50, "each message of a batch has its own key");

    messages.push(OutgoingMessage::new(many, "empty", ""));
    let error = producer.send_all(&messages).await.unwrap_err();
    assert!(error.cause().is_invalid());
    assert_eq!((error.stored().len(), error.not_sent().len()), (0, 101));
    producer.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_and_ordered_messages_are_handled_once() {
    let place = Place::plain(4).await;
    let producer = place.sender().start().await.unwrap();
    producer.send(&note(&place.topic, "first").order_by("x")).await.unwrap();
    let messages: Vec<_> = (0..300)
        .map(|n| note(&place.topic, &format!("{n}")).order_by(if n < 200 { "x" } else { "y" }))
        .collect();
    producer.send_all(&messages).await.unwrap();
    producer.send_all(&messages).await.unwrap();
    let runs = Runs::default();
    let consumer = count(&place, &runs).await;
    until("all deliveries", SOON, async || handled(&place) == 601).await;
    assert_eq!((runs.keys(), runs.total()), (301, 301));
    consumer.shutdown().await;
    producer.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delay_beyond_the_brokers_is_refused_with_its_code() {
    let place = Place::plain(1).await;
    let producer = place.sender().start().await.unwrap();
    let year = Duration::from_hours(24 * 365);
    let error = producer.send_after(&note(&place.topic, "k"), year).await.unwrap_err();
    assert!(error.is_refused() && error.to_string().contains("response code 13"), "{error}");
    producer.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_away_gives_an_error_that_says_so_in_time() {
    let place = Place::embedded(Kind::Plain, 1).await;
    a_broker_goes_away(&place, async || place.shutdown().await).await;
}

/// Whichever it is.
pub(crate) async fn a_broker_goes_away(place: &Place, goes: impl AsyncFnOnce()) {
    let producer = place.sender().send_timeout(Duration::from_secs(3)).start().await.unwrap();
    producer.send(&note(&place.topic, "here")).await.unwrap();
    goes().await;
    let begun = Instant::now();
    let message = OutgoingMessage::new(&place.topic, MARKER, MARKER).property("secret", MARKER);
    let error = producer.send(&message).await.unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    assert!(error.is_retryable() && !error.is_invalid() && !error.is_refused(), "{error}");
    let text = format!("{error} {error:?} {message:?}");
    let named = [&format!("{}-p", place.group), &place.topic].map(|name| text.contains(&format!("`{name}`")));
    assert_eq!(named, [true, true], "{text}");
    assert!(!text.contains(MARKER), "{text}");
    // By now the connection is known to be gone, and nothing can have been stored.
    let error = producer.send(&message).await.unwrap_err();
    assert!(!error.is_maybe_sent(), "{error}");
    let all = [message.clone(), message];
    let error = producer.send_all(&all).await.unwrap_err();
    assert_eq!(error.stored().len() + error.maybe_sent().len() + error.not_sent().len(), 2, "{error}");
    producer.shutdown().await;
    assert!(kit::leaks().iter().all(|leak| !leak.contains(&place.topic)), "{:?}", kit::leaks());
}

/// A check-back that says what it is told to, and counts.
#[derive(Clone)]
struct Ledger {
    answer: Arc<Mutex<TransactionState>>,
    asked: Arc<AtomicUsize>,
}

impl Ledger {
    fn answering(state: TransactionState) -> Self {
        Self { answer: Arc::new(Mutex::new(state)), asked: Arc::default() }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// A member of the place's producer group.
    fn producer(&self, place: &Place) -> ProducerBuilder {
        let this = self.clone();
        place.sender().check_back(&place.topic, move |message: Delivery| {
            this.asked.fetch_add(1, Ordering::SeqCst);
            let answer = *this.answer.lock().unwrap();
            async move {
                assert!(message.keys().is_some());
                Ok(answer)
            }
        })
    }
}

/// On a broker that asks for long enough.
#[tokio::test(flavor = "multi_thread")]
async fn another_member_answers_for_one_that_is_gone() {
    let place = Place::plain(1).await;
    let (gone, other) =
        (Ledger::answering(TransactionState::Unknown), Ledger::answering(TransactionState::Commit));
    let first = gone.producer(&place).start().await.unwrap();
    first.send(&note(&place.topic, "first")).await.unwrap();
    let runs = Runs::default();
    let consumer = count(&place, &runs).await;
    runs.until_total(1, SOON).await;
    let doing = {
        let (first, message) = (first.clone(), note(&place.topic, "orphan"));
        tokio::spawn(async move {
            let _ = first.transaction(&message, std::future::pending::<Result<(), String>>).await;
        })
    };
    let group = format!("{}-p", place.group);
    until("the half message", SOON, async || {
        counted("idem_sent_total", &[("group", &group), ("outcome", "prepared")]) == 1
    })
    .await;
    doing.abort();
    first.shutdown().await;
    // The work is done, and nobody has told the broker. The second member has sent nothing.
    let second = other.producer(&place).start().await.unwrap();
    until("the orphan", Duration::from_mins(2), async || runs.of("note orphan") == 1).await;
    assert!(other.asked() >= 1);
    consumer.shutdown().await;
    second.shutdown().await;
}

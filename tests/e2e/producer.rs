//! What idem's producer sends, as brokers store it and as consumers see it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use idem_rocketmq::embedded::EmbeddedBroker;
use idem_rocketmq::prelude::*;
use idem_rocketmq::{ProducerBuilder, RunningConsumer, TransactionError};

use crate::kit::{self, MARKER, Runs, SOON, counted, java, seeing, until};

/// How often the embedded broker asks for transactions.
const CHECKS: Duration = Duration::from_secs(2);

#[derive(Serialize, Deserialize, Message)]
#[message(topic = "orders", tag = "PAID", key = ("tenant", "id"), order_by = "buyer")]
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

async fn broker(topic: &str, queues: u32) -> EmbeddedBroker {
    seeing();
    kit::quick_retries().transaction_check_interval(CHECKS).topic(topic, queues).start().await.unwrap()
}

fn sender(name_server: &str, group: &str) -> ProducerBuilder {
    seeing();
    Producer::builder(group).name_server(name_server)
}

/// Counts by the body, under the producer's key.
async fn count(name_server: &str, group: &str, topic: &str, runs: &Runs) -> RunningConsumer {
    let runs = runs.clone();
    let handler = handler_with(topic, Text, move |text: String| {
        runs.add(&text);
        async {}
    });
    Consumer::builder(group)
        .name_server(name_server)
        .store(MemoryStore::new())
        .handlers([handler.key_from(KeySource::ProducerKey)])
        .start()
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_derived_message_brings_its_key_tag_order_and_json() {
    let broker = broker("orders", 4).await;
    let producer = sender(broker.name_server(), "derive").start().await.unwrap();
    for id in 0..4 {
        producer.send(&paid(id, 7)).await.unwrap();
    }
    let stored = broker.read_all("orders").await.unwrap();
    assert_eq!(stored.len(), 4);
    assert!(stored.iter().all(|message| message.queue_id == stored[0].queue_id), "one buyer, one queue");
    let offsets: Vec<_> = stored.iter().map(|message| message.offset).collect();
    assert_eq!(offsets, [0, 1, 2, 3]);
    let first = &stored[0];
    assert_eq!(first.property("TAGS"), Some("PAID"));
    assert_eq!(first.property("KEYS"), Some("a%20b 0"));
    assert_eq!(first.property("IDEM_PRODUCER_KEY"), Some("3:a%20b,1:0,"));
    assert_eq!(&first.body[..], br#"{"tenant":"a b","id":0,"buyer":7}"#);
    assert_eq!(
        counted("idem_sent_total", &[("group", "derive"), ("topic", "orders"), ("outcome", "sent")]),
        4
    );
    producer.shutdown().await;
    let error = producer.send(&paid(9, 7)).await.unwrap_err();
    assert!(error.to_string().contains("`derive` has been shut down"), "{error}");
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_sent_twice_is_handled_once_by_the_producers_key() {
    let broker = broker("notes", 4).await;
    let runs = Runs::default();
    let consumer = count(broker.name_server(), "twice", "notes", &runs).await;
    let producer = sender(broker.name_server(), "twice-p").start().await.unwrap();
    let note = note("notes", "n 1");
    let first = producer.send(&note).await.unwrap();
    let second = producer.send(&note).await.unwrap();
    assert_ne!(first.unique_key(), second.unique_key());
    let done = || counted("idem_messages_total", &[("group", "twice")]);
    until("both deliveries", SOON, async || done() == 2).await;
    assert_eq!(runs.of("note n 1"), 1);
    consumer.shutdown().await;
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_messages_go_in_batches_by_topic_and_keep_their_order() {
    let broker = broker("many", 4).await;
    broker.create_topic("others", 1).await.unwrap();
    let producer = sender(broker.name_server(), "many-p").start().await.unwrap();
    let mut messages: Vec<_> = (0..50).map(|n| note("many", &format!("{n:02}")).order_by(n % 3)).collect();
    messages.extend((0..50).map(|n| note("others", &format!("{n:02}"))));
    producer.send_all(&messages).await.unwrap();
    let stored = broker.read_all("many").await.unwrap();
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
    let others = broker.read_all("others").await.unwrap();
    assert_eq!(others.len(), 50);
    let keys: std::collections::BTreeSet<_> =
        others.iter().filter_map(|message| message.property("IDEM_PRODUCER_KEY")).collect();
    assert_eq!(keys.len(), 50, "each message of a batch has its own key");

    messages.push(OutgoingMessage::new("many", "empty", ""));
    let error = producer.send_all(&messages).await.unwrap_err();
    assert!(error.cause().is_invalid());
    assert_eq!((error.stored().len(), error.not_sent().len()), (0, 101));
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn delayed_and_one_way_messages_come() {
    seeing();
    // One with a timer: brokers that are given delay levels of their own have none here.
    let broker = EmbeddedBroker::builder().topic("later", 1).start().await.unwrap();
    delays(broker.name_server(), "later").await;
    broker.shutdown().await;
}

async fn delays(name_server: &str, topic: &str) {
    let runs = Runs::default();
    let producer = sender(name_server, &format!("{topic}-p")).start().await.unwrap();
    // Makes the topic where it is made by use.
    producer.send(&note(topic, "first")).await.unwrap();
    let consumer = count(name_server, &format!("{topic}-c"), topic, &runs).await;
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

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_away_gives_an_error_that_says_so_in_time() {
    let broker = broker("away", 1).await;
    let producer =
        sender(broker.name_server(), "away-p").send_timeout(Duration::from_secs(3)).start().await.unwrap();
    producer.send(&note("away", "here")).await.unwrap();
    broker.shutdown().await;
    let begun = Instant::now();
    let message = OutgoingMessage::new("away", MARKER, MARKER).property("secret", MARKER);
    let error = producer.send(&message).await.unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    assert!(error.is_retryable() && !error.is_invalid() && !error.is_refused(), "{error}");
    let text = format!("{error} {error:?} {message:?}");
    assert!(text.contains("`away-p`") && text.contains("`away`"), "{text}");
    assert!(!text.contains(MARKER), "{text}");
    // By now the connection is known to be gone, and nothing can have been stored.
    let error = producer.send(&message).await.unwrap_err();
    assert!(!error.is_maybe_sent(), "{error}");
    let all = [message.clone(), message];
    let error = producer.send_all(&all).await.unwrap_err();
    assert_eq!(error.stored().len() + error.maybe_sent().len() + error.not_sent().len(), 2, "{error}");
    producer.shutdown().await;
    assert!(kit::leaks().iter().all(|leak| !leak.contains("away")), "{:?}", kit::leaks());
}

/// A check-back that says what it is told to, and counts.
#[derive(Clone, Default)]
struct Ledger {
    done: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
}

impl Ledger {
    fn of(&self, name_server: &str, group: &str, topic: &str) -> ProducerBuilder {
        let this = self.clone();
        sender(name_server, group).check_back(topic, move |message: Delivery| {
            this.asked.fetch_add(1, Ordering::SeqCst);
            let done = this.done.load(Ordering::SeqCst);
            async move {
                assert!(message.keys().is_some());
                Ok(if done { TransactionState::Commit } else { TransactionState::Rollback })
            }
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_local_work_that_succeeded_commits() {
    let broker = broker("ledger", 1).await;
    transactions(broker.name_server(), "ledger", CHECKS * 3).await;
    broker.shutdown().await;
}

async fn transactions(name_server: &str, topic: &str, quiet: Duration) {
    let ledger = Ledger::default();
    let producer = ledger
        .of(name_server, &format!("{topic}-p"), topic)
        .transaction_timeout(Duration::from_millis(200))
        .start()
        .await
        .unwrap();
    producer.send(&note(topic, "first")).await.unwrap();
    let runs = Runs::default();
    let consumer = count(name_server, &format!("{topic}-c"), topic, &runs).await;
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
    let asked = || ledger.asked.load(Ordering::SeqCst);
    until("three check-backs", Duration::from_mins(2), async || asked() >= 3).await;
    tokio::time::sleep(quiet).await;
    assert_eq!(runs.total(), 2, "nothing but what was committed: {runs:?}");
    let error = producer.transaction(&note("elsewhere", "k"), || async { Ok::<_, String>(()) }).await;
    assert!(error.unwrap_err().to_string().contains(".check_back(\"elsewhere\", ..)"));
    consumer.shutdown().await;
    producer.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_member_answers_for_one_that_is_gone() {
    let broker = broker("orphans", 1).await;
    orphans(broker.name_server(), "orphans").await;
    broker.shutdown().await;
}

async fn orphans(name_server: &str, topic: &str) {
    let ledger = Ledger::default();
    let group = format!("{topic}-p");
    let first = ledger.of(name_server, &group, topic).start().await.unwrap();
    first.send(&note(topic, "first")).await.unwrap();
    let runs = Runs::default();
    let consumer = count(name_server, &format!("{topic}-c"), topic, &runs).await;
    runs.until_total(1, SOON).await;
    let doing = {
        let (first, message) = (first.clone(), note(topic, "orphan"));
        tokio::spawn(async move {
            let _ = first.transaction(&message, std::future::pending::<Result<(), String>>).await;
        })
    };
    until("the half message", SOON, async || {
        counted("idem_sent_total", &[("group", &group), ("outcome", "prepared")]) == 1
    })
    .await;
    doing.abort();
    first.shutdown().await;
    // The work is done, and nobody has told the broker. The second member has sent nothing.
    ledger.done.store(true, Ordering::SeqCst);
    let second = ledger.of(name_server, &group, topic).start().await.unwrap();
    until("the orphan", Duration::from_mins(2), async || runs.of("note orphan") == 1).await;
    assert!(ledger.asked.load(Ordering::SeqCst) >= 1);
    consumer.shutdown().await;
    second.shutdown().await;
}

mod on_java {
    use super::*;

    fn topic(name: &str) -> String {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        format!("{name}-{}", since.as_millis())
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn java_delayed_and_one_way_messages_come() {
        delays(&java(), &topic("later")).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn java_only_local_work_that_succeeded_commits() {
        transactions(&java(), &topic("ledger"), Duration::from_secs(10)).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn java_another_member_answers_for_one_that_is_gone() {
        orphans(&java(), &topic("orphans")).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn java_batches_and_ordered_messages_are_handled_once() {
        let (server, topic) = (java(), topic("batch"));
        let producer = sender(&server, "java-batch").start().await.unwrap();
        producer.send(&note(&topic, "first").order_by("x")).await.unwrap();
        let messages: Vec<_> = (0..300)
            .map(|n| note(&topic, &format!("{n}")).order_by(if n < 200 { "x" } else { "y" }))
            .collect();
        producer.send_all(&messages).await.unwrap();
        producer.send_all(&messages).await.unwrap();
        let runs = Runs::default();
        let consumer = count(&server, "java-batch-c", &topic, &runs).await;
        let done = || counted("idem_messages_total", &[("group", "java-batch-c")]);
        until("all deliveries", SOON, async || done() == 601).await;
        assert_eq!((runs.keys(), runs.total()), (301, 301));
        consumer.shutdown().await;
        producer.shutdown().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn java_a_delay_beyond_the_brokers_is_refused_with_its_code() {
        let (server, topic) = (java(), topic("refused"));
        let producer = sender(&server, "java-refused").start().await.unwrap();
        let year = Duration::from_hours(24 * 365);
        let error = producer.send_after(&note(&topic, "k"), year).await.unwrap_err();
        assert!(error.is_refused() && error.to_string().contains("response code 13"), "{error}");
        producer.shutdown().await;
    }
}

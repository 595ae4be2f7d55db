//! Settings of a consumer that the broker has a part in, on Apache RocketMQ in Java.
#![allow(clippy::needless_raw_string_hashes, reason = "expect-test writes them")]

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use expect_test::expect;
use idem_rocketmq::codec::Text;
use idem_rocketmq::consumer::Builder;
use idem_rocketmq::prelude::*;
use idem_rocketmq::{ConsumeFrom, MessageTrace, Store, Tls, handler_with};

use crate::kit::{self, Runs, SOON, counted};
use crate::servers::{self, variable};

fn address() -> String {
    variable("IDEM_TEST_ROCKETMQ")
}

fn builder(group: &str, topic: &str, runs: &Runs) -> Builder<Arc<dyn Store>> {
    kit::seeing();
    let routes = [kit::counting(topic, runs)];
    Consumer::builder(group).name_server(address()).store(MemoryStore::new()).handlers(routes)
}

fn send(topic: &str, ids: &[&str]) {
    let orders: Vec<_> = ids.iter().map(|id| (*id, &[][..])).collect();
    servers::send_all(&address(), topic, &orders);
}

/// What could come wrongly would come within this time.
const A_MOMENT: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread")]
async fn a_new_group_starts_at_the_first_message() {
    let (topic, runs) = (servers::unique("orders"), Runs::default());
    send(&topic, &["before"]);
    let running = builder(&servers::unique("first"), &topic, &runs).start().await.unwrap();
    runs.until_total(1, SOON).await;
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_group_starts_after_the_last_message_where_it_is_told_to() {
    let (topic, group, runs) = (servers::unique("orders"), servers::unique("last"), Runs::default());
    send(&topic, &["before"]);
    let start = || builder(&group, &topic, &runs).consume_from(ConsumeFrom::Last).start();
    let running = start().await.unwrap();
    send(&topic, &["after"]);
    kit::until("the message after the start", SOON, async || runs.of("after") == 1).await;
    running.shutdown().await;
    // The group has an offset now, which says more than the setting.
    send(&topic, &["while it was down"]);
    let running = start().await.unwrap();
    kit::until("the message of the meantime", SOON, async || runs.of("while it was down") == 1).await;
    running.shutdown().await;
    assert_eq!(runs.of("before"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_group_starts_at_a_time_where_it_is_told_to() {
    let (topic, group, runs) = (servers::unique("orders"), servers::unique("time"), Runs::default());
    send(&topic, &["before"]);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let time = SystemTime::now();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    send(&topic, &["after"]);
    let from = ConsumeFrom::Timestamp(time);
    let running = builder(&group, &topic, &runs).consume_from(from).start().await.unwrap();
    kit::until("the message after the time", SOON, async || runs.of("after") == 1).await;
    tokio::time::sleep(A_MOMENT).await;
    running.shutdown().await;
    assert_eq!(runs.of("before"), 0);
}

/// Two deployments on one broker with the same names of group and topics, and one store.
#[tokio::test(flavor = "multi_thread")]
async fn a_group_reads_several_topics_and_namespaces_keep_deployments_apart() {
    let (group, store) = (servers::unique("shop"), MemoryStore::new());
    let (orders, refunds) = (servers::unique("orders"), servers::unique("refunds"));
    let deployment = async |namespace: &str| {
        let runs = [Runs::default(), Runs::default()];
        let routes = [kit::counting(&orders, &runs[0]), kit::counting(&refunds, &runs[1]).named("refund")];
        let consumer = Consumer::builder(&group).name_server(address()).namespace(namespace);
        let running = consumer.store(store.clone()).handlers(routes).start().await.unwrap();
        let producer = Producer::builder(&group).name_server(address()).namespace(namespace);
        (runs, running, producer.start().await.unwrap())
    };
    let name = servers::unique("ns");
    let (staging, first, to_staging) = deployment(&format!("{name}s")).await;
    let (production, second, to_production) = deployment(&format!("{name}p")).await;
    let order = |topic: &str, id: &str| OutgoingMessage::new(topic, id, format!(r#"{{"id":"{id}"}}"#));
    for producer in [&to_staging, &to_production] {
        producer.send(&order(&orders, "7")).await.unwrap();
        producer.send(&order(&refunds, "7")).await.unwrap();
        producer.send(&order(&orders, "7")).await.unwrap();
    }
    to_production.send(&order(&refunds, "8")).await.unwrap();
    let expected = [(&staging[0], 1), (&staging[1], 1), (&production[0], 1), (&production[1], 2)];
    for (runs, wanted) in expected {
        runs.until_total(wanted, SOON).await;
    }
    let duplicates = || counted("idem_messages_total", &[("group", &group), ("outcome", "duplicate")]);
    kit::until("the duplicates are seen", SOON, async || duplicates() == 2).await;
    for (runs, wanted) in expected {
        assert_eq!(runs.total(), wanted, "{runs:?}");
    }
    first.shutdown().await;
    second.shutdown().await;
}

/// A producer can do nothing against it.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_the_broker_commits_twice_is_handled_once() {
    let (topic, group, runs) = (servers::unique("orders"), servers::unique("twice"), Runs::default());
    send(&topic, &["before"]);
    servers::commit_twice(&address(), &topic, "7");
    let running = builder(&group, &topic, &runs).start().await.unwrap();
    runs.until_total(2, SOON).await;
    let duplicates = || counted("idem_messages_total", &[("group", &group), ("outcome", "duplicate")]);
    kit::until("the second copy is seen", SOON, async || duplicates() == 1).await;
    running.shutdown().await;
    assert_eq!((runs.of("7"), runs.total()), (1, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_consumer_handles_nothing_until_it_goes_on() {
    let (topic, runs) = (servers::unique("orders"), Runs::default());
    send(&topic, &["before"]);
    let running = builder(&servers::unique("pausing"), &topic, &runs).start().await.unwrap();
    runs.until_total(1, SOON).await;
    running.pause().await;
    running.pause().await;
    // A request for messages is with the broker still, and is answered with this one.
    send(&topic, &["meanwhile"]);
    tokio::time::sleep(3 * A_MOMENT).await;
    assert_eq!(runs.of("meanwhile"), 0);
    running.resume().await;
    runs.until_total(2, SOON).await;
    send(&topic, &["later"]);
    runs.until_total(3, SOON).await;
    running.shutdown().await;
    assert!(runs.repeated().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_consumer_stops_at_once_and_loses_nothing() {
    let (topic, group, runs) = (servers::unique("orders"), servers::unique("pausing"), Runs::default());
    send(&topic, &["before"]);
    let running = builder(&group, &topic, &runs).start().await.unwrap();
    runs.until_total(1, SOON).await;
    running.pause().await;
    send(&topic, &["meanwhile"]);
    tokio::time::sleep(A_MOMENT).await;
    tokio::time::timeout(Duration::from_secs(10), running.shutdown())
        .await
        .expect("it has nothing to wait for");
    assert_eq!(runs.of("meanwhile"), 0);
    let running = builder(&group, &topic, &runs).start().await.unwrap();
    kit::until("the message of the pause", SOON, async || runs.of("meanwhile") == 1).await;
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_tells_of_a_consumed_message_where_it_is_on() {
    let (topic, traces) = (servers::unique("orders"), servers::unique("traces"));
    let (group, untraced) = (servers::unique("telling"), servers::unique("untraced"));
    let runs = Runs::default();
    send(&topic, &["1"]);
    let trace = MessageTrace::Topic(traces.clone());
    let silent = builder(&untraced, &topic, &runs).start().await.unwrap();
    let telling = builder(&group, &topic, &runs).message_trace(trace).start().await.unwrap();
    runs.until_total(2, SOON).await;

    let seen = Arc::new(std::sync::Mutex::new(Vec::<String>::new()));
    let lines = seen.clone();
    let reading = handler_with(&*traces, Text, move |line: String| {
        lines.lock().unwrap().push(line);
        async {}
    });
    let reader = Consumer::builder(servers::unique("reader"))
        .name_server(address())
        .store(MemoryStore::new())
        .handlers([reading.key(String::clone)])
        .start()
        .await
        .unwrap();
    let told =
        |of: &str| seen.lock().unwrap().iter().any(|line| line.contains(of) && line.contains("SubAfter"));
    kit::until("the trace", SOON, async || told(&group)).await;
    assert!(!told(&untraced));
    for running in [reader, telling, silent] {
        running.shutdown().await;
    }
}

#[test]
fn a_trace_over_tls_is_told() {
    let builder =
        builder("campaign", "orders", &Runs::default()).message_trace(MessageTrace::On).tls(Tls::new());
    let error = builder.check().unwrap_err();
    expect![[r#"
        the consumer group `campaign` has a message trace and TLS: the RocketMQ client sends its trace without the certificates that were given, so leave out `.message_trace(..)`
    "#]].assert_eq(&format!("{error}\n"));
}

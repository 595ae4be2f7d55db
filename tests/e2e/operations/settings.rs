//! Settings of a consumer that the broker takes part in, on Apache RocketMQ in Java.
//!
//! Run alone: `cargo test --workspace --all-features --test e2e -- operations::settings::`
#![allow(clippy::needless_raw_string_hashes, reason = "expect-test writes them")]

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use expect_test::expect;
use idem_rocketmq::cluster::Tls;
use idem_rocketmq::codec::Text;
use idem_rocketmq::consumer::{Builder, ConsumeFrom, MessageTrace};
use idem_rocketmq::handler::handler_with;
use idem_rocketmq::prelude::*;
use idem_rocketmq::store::Store;

use crate::support::kit::{self, Runs, SOON};
use crate::support::place::Place;
use crate::support::servers;

fn member(place: &Place, runs: &Runs) -> Builder<Arc<dyn Store>> {
    place.member(&MemoryStore::new(), [kit::counting(&place.topic, runs)])
}

/// A message that should not come would come within this time.
const A_MOMENT: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread")]
async fn a_new_group_starts_at_the_first_message() {
    let (place, runs) = (Place::plain(4).await, Runs::default());
    place.send(place.order("before")).await;
    let running = member(&place, &runs).start().await.unwrap();
    runs.until_total(1, SOON).await;
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_group_starts_after_the_last_message_where_it_is_told_to() {
    let (place, runs) = (Place::plain(1).await, Runs::default());
    place.send(place.order("before")).await;
    let start = || member(&place, &runs).consume_from(ConsumeFrom::Last).start();
    let running = start().await.unwrap();
    place.send(place.order("after")).await;
    kit::until("the message after the start", SOON, async || runs.of("after") == 1).await;
    running.shutdown().await;
    // The group has an offset now, which says more than the setting.
    place.send(place.order("while it was down")).await;
    let running = start().await.unwrap();
    kit::until("the message of the meantime", SOON, async || runs.of("while it was down") == 1).await;
    running.shutdown().await;
    assert_eq!(runs.of("before"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_group_starts_at_a_time_where_it_is_told_to() {
    let (place, runs) = (Place::plain(1).await, Runs::default());
    place.send(place.order("before")).await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let time = SystemTime::now();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    place.send(place.order("after")).await;
    let from = ConsumeFrom::Timestamp(time);
    let running = member(&place, &runs).consume_from(from).start().await.unwrap();
    kit::until("the message after the time", SOON, async || runs.of("after") == 1).await;
    tokio::time::sleep(A_MOMENT).await;
    running.shutdown().await;
    assert_eq!(runs.of("before"), 0);
}

/// Two deployments on one broker with the same names of group and topics, and one store.
#[tokio::test(flavor = "multi_thread")]
async fn a_group_reads_several_topics_and_namespaces_keep_deployments_apart() {
    // In a namespace, topics come into being when they are used.
    let (place, store, refunds) =
        (Place::without_topic().await, MemoryStore::new(), servers::unique("refunds"));
    let orders = place.topic.as_str();
    let deployment = async |namespace: &str| {
        let runs = [Runs::default(), Runs::default()];
        let routes = [kit::counting(orders, &runs[0]), kit::counting(&refunds, &runs[1]).named("refund")];
        let running = place.member(&store, routes).namespace(namespace).start().await.unwrap();
        (runs, running, place.sender().namespace(namespace).start().await.unwrap())
    };
    let name = servers::unique("ns");
    let (staging, first, to_staging) = deployment(&format!("{name}s")).await;
    let (production, second, to_production) = deployment(&format!("{name}p")).await;
    let order = |topic: &str, id: &str| OutgoingMessage::new(topic, id, format!(r#"{{"id":"{id}"}}"#));
    for producer in [&to_staging, &to_production] {
        producer.send(&order(orders, "7")).await.unwrap();
        producer.send(&order(&refunds, "7")).await.unwrap();
        producer.send(&order(orders, "7")).await.unwrap();
    }
    to_production.send(&order(&refunds, "8")).await.unwrap();
    let expected = [(&staging[0], 1), (&staging[1], 1), (&production[0], 1), (&production[1], 2)];
    for (runs, wanted) in expected {
        runs.until_total(wanted, SOON).await;
    }
    kit::until("the duplicates are seen", SOON, async || place.duplicates() == 2).await;
    for (runs, wanted) in expected {
        assert_eq!(runs.total(), wanted, "{runs:?}");
    }
    first.shutdown().await;
    second.shutdown().await;
}

/// A producer can do nothing against it.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_the_broker_commits_twice_is_handled_once() {
    let (place, runs) = (Place::plain(1).await, Runs::default());
    place.send(place.order("before")).await;
    servers::commit_twice(place.name_server(), &place.topic, "7");
    let running = member(&place, &runs).start().await.unwrap();
    runs.until_total(2, SOON).await;
    kit::until("the second copy is seen", SOON, async || place.duplicates() == 1).await;
    running.shutdown().await;
    assert_eq!((runs.of("7"), runs.total()), (1, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_consumer_handles_nothing_until_it_goes_on() {
    let (place, runs) = (Place::plain(4).await, Runs::default());
    place.send(place.order("before")).await;
    let running = member(&place, &runs).start().await.unwrap();
    runs.until_total(1, SOON).await;
    running.pause().await;
    running.pause().await;
    // A request for messages is with the broker still, and is answered with this one.
    place.send(place.order("meanwhile")).await;
    tokio::time::sleep(3 * A_MOMENT).await;
    assert_eq!(runs.of("meanwhile"), 0);
    running.resume().await;
    runs.until_total(2, SOON).await;
    place.send(place.order("later")).await;
    runs.until_total(3, SOON).await;
    running.shutdown().await;
    assert!(runs.repeated().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_consumer_stops_at_once_and_loses_nothing() {
    let (place, runs) = (Place::plain(4).await, Runs::default());
    place.send(place.order("before")).await;
    let running = member(&place, &runs).start().await.unwrap();
    runs.until_total(1, SOON).await;
    running.pause().await;
    place.send(place.order("meanwhile")).await;
    tokio::time::sleep(A_MOMENT).await;
    tokio::time::timeout(Duration::from_secs(10), running.shutdown())
        .await
        .expect("it has nothing to wait for");
    assert_eq!(runs.of("meanwhile"), 0);
    let running = member(&place, &runs).start().await.unwrap();
    kit::until("the message of the pause", SOON, async || runs.of("meanwhile") == 1).await;
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_tells_of_a_consumed_message_where_it_is_on() {
    let (place, runs) = (Place::plain(1).await, Runs::default());
    let (traces, untraced) = (servers::unique("traces"), servers::unique("untraced"));
    place.send(place.order("1")).await;
    let silent = Consumer::builder(&untraced).name_server(place.name_server()).store(MemoryStore::new());
    let silent = silent.handlers([kit::counting(&place.topic, &runs)]).start().await.unwrap();
    let trace = MessageTrace::Topic(traces.clone());
    let telling = member(&place, &runs).message_trace(trace).start().await.unwrap();
    runs.until_total(2, SOON).await;

    let seen = Arc::new(std::sync::Mutex::new(Vec::<String>::new()));
    let lines = seen.clone();
    let reading = handler_with(&*traces, Text, move |line: String| {
        lines.lock().unwrap().push(line);
        async {}
    });
    let reader = Consumer::builder(servers::unique("reader"))
        .name_server(place.name_server())
        .store(MemoryStore::new())
        .handlers([reading.key(String::clone)])
        .start()
        .await
        .unwrap();
    let told =
        |of: &str| seen.lock().unwrap().iter().any(|line| line.contains(of) && line.contains("SubAfter"));
    kit::until("the trace", SOON, async || told(&place.group)).await;
    assert!(!told(&untraced));
    for running in [reader, telling, silent] {
        running.shutdown().await;
    }
}

#[test]
fn a_trace_over_tls_is_told() {
    let routes = [kit::counting("orders", &Runs::default())];
    let builder = Consumer::builder("campaign").name_server("127.0.0.1:9").store(MemoryStore::new());
    let builder = builder.handlers(routes).message_trace(MessageTrace::On).tls(Tls::new());
    let error = builder.check().unwrap_err();
    expect![[r#"
        the consumer group `campaign` has a message trace and TLS: the RocketMQ client sends its trace without the certificates that were given, so leave out `.message_trace(..)`
    "#]].assert_eq(&format!("{error}\n"));
}

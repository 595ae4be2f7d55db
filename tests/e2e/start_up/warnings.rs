//! Starts that warn, and one outside of a runtime.
//!
//! Run alone: `cargo test --workspace --all-features --test e2e -- start_up::warnings::`
#![allow(clippy::needless_raw_string_hashes, reason = "expect-test writes them")]

use std::future::Future as _;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use expect_test::expect;
use idem_rocketmq::Backoff;
use idem_rocketmq::Error;
use idem_rocketmq::cluster::DelayBy;
use idem_rocketmq::consumer::Builder;
use idem_rocketmq::prelude::*;
use idem_rocketmq::store::Store;

use super::{builder, pay, route};

/// A `main` without `#[tokio::main]`, or another executor.
#[test]
fn a_start_outside_of_a_tokio_runtime_is_told() {
    let told = |result: Poll<Result<(), Error>>| match result {
        Poll::Ready(Err(error)) => format!("{error}\n"),
        other => panic!("{other:?}"),
    };
    let mut context = Context::from_waker(Waker::noop());
    let mut start = pin!(builder("g", [pay()]).start());
    let text = told(start.as_mut().poll(&mut context).map_ok(drop));
    expect![[r#"
        the consumer must be started inside a tokio runtime, on which its handlers run: call it from an async function under `#[tokio::main]`
    "#]].assert_eq(&text);
    let mut run = pin!(builder("g", [pay()]).run());
    assert_eq!(told(run.as_mut().poll(&mut context)), text);
}

/// How many warnings with this field a start gives before it finds no name server.
async fn warnings(group: &str, builder: Builder<Arc<dyn Store>>, field: &str) -> usize {
    crate::support::kit::seeing();
    builder.start().await.map(drop).unwrap_err();
    crate::support::kit::events(|event| {
        event.is("group", group) && event.level == tracing::Level::WARN && event.field(field).is_some()
    })
    .len()
}

/// As [`builder`], where nobody answers.
fn nowhere(group: &str, routes: impl IntoIterator<Item = Route>) -> Builder<Arc<dyn Store>> {
    Consumer::builder(group).name_server("127.0.0.1:1").store(MemoryStore::new()).handlers(routes)
}

#[tokio::test]
async fn a_retention_shorter_than_the_brokers_is_warned_of() {
    let hours = |hours: u64| Duration::from_secs(hours * 3600);
    for (group, retention, warned) in [("forgets", 71, 1), ("remembers", 72, 0)] {
        let consumer = nowhere(group, [pay().retention(hours(retention))]);
        assert_eq!(warnings(group, consumer, "retention").await, warned, "{group}");
    }
    assert_eq!(warnings("as-it-comes", nowhere("as-it-comes", [pay()]), "retention").await, 0);
}

#[tokio::test]
async fn a_delay_longer_than_the_brokers_longest_is_warned_of() {
    let fixed = |hours: u64| pay().backoff(Backoff::fixed(Duration::from_secs(hours * 3600)));
    let by_level = |consumer: Builder<Arc<dyn Store>>| consumer.delay_by(DelayBy::Level);
    let cases = [
        ("level-3h", by_level(nowhere("level-3h", [fixed(3)])), 1),
        ("level-2h", by_level(nowhere("level-2h", [fixed(2)])), 0),
        ("timer-3h", nowhere("timer-3h", [fixed(3)]), 0),
        ("timer-73h", nowhere("timer-73h", [fixed(73)]), 1),
        ("timer-71h", nowhere("timer-71h", [fixed(71)]), 0),
        // Nothing is sent back there.
        ("orderly-73h", nowhere("orderly-73h", [fixed(73).orderly()]), 0),
    ];
    for (group, consumer, warned) in cases {
        assert_eq!(warnings(group, consumer, "longest").await, warned, "{group}");
    }
}

#[tokio::test]
async fn handlers_that_can_starve_each_other_are_warned_of() {
    let of = |topic, messages| route(topic, topic).concurrency(messages);
    let cases = [
        ("crowded", nowhere("crowded", [of("orders", 300), of("refunds", 61)]), 1),
        ("roomy", nowhere("roomy", [of("orders", 300), of("refunds", 60)]), 0),
        ("alone", nowhere("alone", [of("orders", 1_000)]), 0),
    ];
    for (group, consumer, warned) in cases {
        assert_eq!(warnings(group, consumer, "at_once").await, warned, "{group}");
    }
}

//! SQL92 filters, which Apache RocketMQ in Java evaluates.
//!
//! Run alone: `cargo test --workspace --all-features --test e2e -- delivery::filters::`
#![allow(clippy::needless_raw_string_hashes, reason = "expect-test writes them")]

use std::sync::Arc;
use std::time::Duration;

use expect_test::{Expect, expect};
use idem_rocketmq::Error;
use idem_rocketmq::consumer::Builder;
use idem_rocketmq::prelude::*;
use idem_rocketmq::store::Store;

use crate::support::kit::{self, Order, Runs, SOON};
use crate::support::place::{Kind, OfThisRun, Place};
use crate::support::servers::{self, variable};

fn builder(
    name_server: &str,
    group: &str,
    routes: impl IntoIterator<Item = Route>,
) -> Builder<Arc<dyn Store>> {
    kit::seeing();
    Consumer::builder(group).name_server(name_server).store(MemoryStore::new()).handlers(routes)
}

fn route(name: &'static str) -> Route {
    handler("orders", async |_: Order| {}).key(|order| order.id.clone()).named(name)
}

const ORDERS: [(&str, &[(&str, &str)]); 6] = [
    ("small", &[("amount", "5"), ("TAGS", "PAID")]),
    ("large", &[("amount", "500"), ("TAGS", "PAID")]),
    ("large but due", &[("amount", "500"), ("TAGS", "DUE")]),
    ("of no amount", &[("TAGS", "PAID")]),
    ("plain", &[]),
    ("the last large one", &[("amount", "101"), ("TAGS", "PAID")]),
];

/// The keys that a handler with the condition gets of [`ORDERS`].
async fn passing(condition: &str, wanted: &[&str]) {
    let (place, runs) = (Place::plain(1).await, Runs::default());
    servers::send_all(place.name_server(), &place.topic, &ORDERS);
    let route = kit::counting(&place.topic, &runs).filter(condition);
    let running = place.member(&MemoryStore::new(), [route]).start().await.unwrap();
    runs.until_total(wanted.len(), SOON).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    running.shutdown().await;
    assert_eq!(runs.total(), wanted.len(), "{condition}: {runs:?}");
    assert!(wanted.iter().all(|key| runs.of(key) == 1), "{condition}: {runs:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_lets_pass_what_meets_it() {
    passing("amount > 100 AND TAGS = 'PAID'", &["large", "the last large one"]).await;
    passing("amount BETWEEN 1 AND 10 OR amount IS NULL", &["small", "of no amount", "plain"]).await;
    passing("TAGS IN ('DUE', 'LATE')", &["large but due"]).await;
}

const FILTERED: OfThisRun = OfThisRun("filtered");

#[idempotent(key = "id", topic = FILTERED, filter = "amount > 100")]
async fn count(order: Order, State(runs): State<Runs>) {
    runs.add(&order.id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_of_the_attribute_reaches_the_broker() {
    let (place, runs) = (Place::without_topic().await, Runs::default());
    let orders: [(&str, &[(&str, &str)]); 3] =
        [("small", &[("amount", "99")]), ("other", &[]), ("large", &[("amount", "101")])];
    servers::send_all(place.name_server(), &String::from(FILTERED), &orders);
    let consumer = place.consumer().store(MemoryStore::new()).state(runs.clone());
    let running = consumer.handlers(handlers![count]).start().await.unwrap();
    kit::until("the large one", SOON, async || runs.of("large") == 1).await;
    running.shutdown().await;
    assert_eq!(runs.total(), 1, "{runs:?}");
}

/// The retry of a filtered message comes whatever the filter says, and to the same handler.
#[tokio::test(flavor = "multi_thread")]
async fn a_filtered_message_is_retried() {
    let (place, runs) = (Place::plain(1).await, Runs::default());
    servers::send_all(place.name_server(), &place.topic, &ORDERS);
    let seen = runs.clone();
    let failing = handler(&place.topic, move |order: Order| {
        seen.add(&order.id);
        let attempts = seen.of(&order.id);
        async move { if attempts == 1 { Err("once") } else { Ok(()) } }
    });
    let failing = failing.key(|order| order.id.clone()).filter("TAGS = 'DUE'").backoff(kit::secondly());
    let running = place.member(&MemoryStore::new(), [failing]).start().await.unwrap();
    runs.until_total(2, SOON).await;
    running.shutdown().await;
    assert_eq!(runs.of("large but due"), 2, "{runs:?}");
}

async fn refused(builder: Builder<Arc<dyn Store>>, expected: Expect) -> Error {
    let error = builder.start().await.map(drop).unwrap_err();
    expected.assert_eq(&servers::masked(&format!("{error}\n")));
    assert!(error.is_misconfiguration() && !error.is_unreachable());
    error
}

#[tokio::test(flavor = "multi_thread")]
async fn a_condition_that_the_broker_does_not_take_is_told() {
    let start = |condition: &str| {
        builder(&variable("IDEM_TEST_ROCKETMQ"), "campaign", [route("pay").filter(condition)])
    };
    refused(start("amount > > 100"), expect![[r#"
        the broker ADDRESS does not take the filter `amount > > 100` of topic orders (Encountered " ">" "> "" at line 1, column 10.): write a condition as SQL92 has it on the messages' properties, such as `amount > 100 AND TAGS = 'PAID'`; a broker takes it only with `enablePropertyFilter=true`
    "#]]).await;
    refused(start("amount = 'unclosed"), expect![[r#"
        the broker ADDRESS does not take the filter `amount = 'unclosed` of topic orders (Lexical error at line 1, column 19.  Encountered: <EOF> after : "\'unclosed"): write a condition as SQL92 has it on the messages' properties, such as `amount > 100 AND TAGS = 'PAID'`; a broker takes it only with `enablePropertyFilter=true`
    "#]]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_that_a_subscription_cannot_hold_are_told() {
    let start = |routes: Vec<Route>| builder("127.0.0.1:9", "campaign", routes);
    let filtered = || route("pay").filter("amount > 100");
    refused(start(vec![filtered(), route("ship")]), expect![[r#"
        the handler `pay` has a filter, and `ship` is for the same topic `orders`: a consumer group has one subscription of a topic, so a handler with a filter is its topic's only one; register one of them with another consumer group, or handle both in one function
    "#]]).await;
    refused(start(vec![route("ship").tag("SHIPPED"), filtered()]), expect![[r#"
        the handler `pay` has a filter, and `ship` is for the same topic `orders`: a consumer group has one subscription of a topic, so a handler with a filter is its topic's only one; register one of them with another consumer group, or handle both in one function
    "#]]).await;
    refused(start(vec![filtered(), route("ship").filter("amount < 100")]), expect![[r#"
        the handler `pay` has a filter, and `ship` is for the same topic `orders`: a consumer group has one subscription of a topic, so a handler with a filter is its topic's only one; register one of them with another consumer group, or handle both in one function
    "#]]).await;
    refused(start(vec![filtered().tag("PAID")]), expect![[r#"
        the filter of handler `pay` stands beside tags, and a subscription has one or the other: write one condition, such as `amount > 100 AND TAGS = 'PAID'`, and no tags beside it
    "#]]).await;
    refused(start(vec![route("pay").filter(" ")]), expect![[r#"
        the filter of handler `pay` is empty: write one condition, such as `amount > 100 AND TAGS = 'PAID'`, and no tags beside it
    "#]]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_on_an_embedded_broker_is_told() {
    let place = Place::embedded(Kind::Plain, 1).await;
    let filtered = route("pay").filter("amount > 100");
    refused(builder(place.name_server(), "campaign", [filtered]), expect![[r#"
        the handler `pay` has a filter, which the embedded broker cannot work out: use tags there, or a broker of Apache RocketMQ
    "#]]).await;
}

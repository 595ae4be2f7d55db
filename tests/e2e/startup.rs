//! Every mistake that a start-up finds, by its text.
#![allow(clippy::needless_raw_string_hashes, reason = "expect-test writes them")]

use idem_rocketmq::Backoff;
use std::future::Future as _;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use expect_test::{Expect, expect};
use idem_rocketmq::Error;
use idem_rocketmq::cluster::{Credentials, DelayBy};
use idem_rocketmq::consumer::Builder;
use idem_rocketmq::prelude::*;
use idem_rocketmq::settings::InProgress;
use idem_rocketmq::store::Store;

use crate::kit::Order;

/// One that would start, but for what a test breaks.
fn builder(group: &str, routes: impl IntoIterator<Item = Route>) -> Builder<Arc<dyn Store>> {
    Consumer::builder(group).name_server("127.0.0.1:9876").store(MemoryStore::new()).handlers(routes)
}

fn route(topic: &str, name: &'static str) -> Route {
    handler(topic, async |_: Order| {}).key(|order| order.id.clone()).named(name)
}

fn pay() -> Route {
    route("orders", "pay")
}

#[expect(clippy::needless_pass_by_value, reason = "a test's builder and text are used once")]
fn fails(builder: Builder<Arc<dyn Store>>, text: Expect) {
    let error = builder.check().unwrap_err();
    text.assert_eq(&format!("{error}\n"));
    assert_eq!(format!("{error}"), format!("{error:?}"), "`main` prints what a reader can read");
    assert!(error.is_misconfiguration() && !error.is_unreachable());
}

fn with(change: impl FnOnce(Route) -> Route) -> Builder<Arc<dyn Store>> {
    builder("g", [change(pay())])
}

#[test]
fn handlers_that_consume_in_different_ways_are_told() {
    fails(
        builder("g", [pay().orderly(), route("refunds", "refund")]),
        expect![[r#"
        the handlers `pay` (orderly) and `refund` (concurrent) are in the consumer group `g`, which consumes in one way: register one of them with another consumer group
    "#]],
    );
    fails(
        builder("g", [pay(), route("refunds", "refund").broadcast()]).instance_name("a"),
        expect![[r#"
        the handlers `pay` (concurrent) and `refund` (broadcast) are in the consumer group `g`, which consumes in one way: register one of them with another consumer group
    "#]],
    );
    fails(
        with(|route| route.orderly().broadcast()),
        expect![[r#"
        the handler `pay` is orderly and broadcast, and it can be one of them: leave the other out
    "#]],
    );
    fails(
        with(Route::broadcast),
        expect![[r#"
        the consumer group `g` is broadcast, so that each instance keeps its own place and records under its name: give each an `.instance_name(..)` of its own that stays the same when it is started again
    "#]],
    );
}

#[test]
fn what_is_right_has_no_error() {
    builder("g", [pay()]).check().unwrap();
    let tags = [pay().tag("PAID"), route("orders", "ship").tags(["SHIPPED", "LOST"])];
    builder("g", tags).check().unwrap();
    let shared = [pay().scope("s").shared_scope(), route("refunds", "refund").scope("s").shared_scope()];
    builder("g", shared).check().unwrap();
    builder("g", [pay()]).name_server("[::1]:9876;mq.example.com:9876").check().unwrap();
}

#[test]
fn a_bad_group_name_is_told() {
    fails(
        builder("", [pay()]),
        expect![[r#"
        the consumer group "" is empty; a group has 1 to 120 of the characters a-z A-Z 0-9 _ - % |
    "#]],
    );
    fails(
        builder("a b", [pay()]),
        expect![[r#"
        the consumer group "a b" has a character that RocketMQ forbids; a group has 1 to 120 of the characters a-z A-Z 0-9 _ - % |
    "#]],
    );
    fails(
        builder("活动", [pay()]),
        expect![[r#"
        the consumer group "活动" has a character that RocketMQ forbids; a group has 1 to 120 of the characters a-z A-Z 0-9 _ - % |
    "#]],
    );
    fails(
        builder(&"g".repeat(121), [pay()]),
        expect![[r#"
        the consumer group "ggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggg" is too long; a group has 1 to 120 of the characters a-z A-Z 0-9 _ - % |
    "#]],
    );
    fails(
        builder("DEFAULT_CONSUMER", [pay()]),
        expect![[r#"
        the consumer group "DEFAULT_CONSUMER" is reserved for RocketMQ itself; a group has 1 to 120 of the characters a-z A-Z 0-9 _ - % |
    "#]],
    );
}

#[test]
fn a_missing_or_malformed_name_server_is_told() {
    fails(
        Consumer::builder("g").store(MemoryStore::new()).handlers([pay()]),
        expect![[r#"
        the consumer group `g` has no name server: add one, as in `.name_server("127.0.0.1:9876")`
    "#]],
    );
    for_address(
        "",
        expect![[r#"
        the name server address "" is not of the form host:port, for example "127.0.0.1:9876"
    "#]],
    );
    for_address(
        "localhost",
        expect![[r#"
        the name server address "localhost" is not of the form host:port, for example "127.0.0.1:9876"
    "#]],
    );
    for_address(
        "http://mq:9876",
        expect![[r#"
        the name server address "http://mq:9876" is not of the form host:port, for example "127.0.0.1:9876"
    "#]],
    );
    for_address(
        "mq:99999",
        expect![[r#"
        the name server address "mq:99999" is not of the form host:port, for example "127.0.0.1:9876"
    "#]],
    );
    for_address(
        "10.0.0.1:9876,10.0.0.2:9876",
        expect![[r#"
        the name server address "10.0.0.1:9876,10.0.0.2:9876" is not of the form host:port, for example "127.0.0.1:9876"
    "#]],
    );
}

fn for_address(address: &str, text: Expect) {
    let builder = Consumer::builder("g").name_server(address).store(MemoryStore::new()).handlers([pay()]);
    fails(builder, text);
}

#[test]
fn a_bad_topic_tag_or_scope_is_told() {
    fails(
        builder("g", [route("", "pay")]),
        expect![[r#"
            the topic `` of handler `pay` is empty: a topic has 1 to 127 of the characters a-z A-Z 0-9 _ - % |
        "#]],
    );
    fails(
        builder("g", [route("or ders", "pay")]),
        expect![[r#"
            the topic `or ders` of handler `pay` has a character that RocketMQ forbids: a topic has 1 to 127 of the characters a-z A-Z 0-9 _ - % |
        "#]],
    );
    fails(
        builder("g", [route("订单", "pay")]),
        expect![[r#"
            the topic `订单` of handler `pay` has a character that RocketMQ forbids: a topic has 1 to 127 of the characters a-z A-Z 0-9 _ - % |
        "#]],
    );
    fails(
        builder("g", [route("SCHEDULE_TOPIC_XXXX", "pay")]),
        expect![[r#"
            the topic `SCHEDULE_TOPIC_XXXX` of handler `pay` is reserved for RocketMQ itself: a topic has 1 to 127 of the characters a-z A-Z 0-9 _ - % |
        "#]],
    );
    fails(
        with(|pay| pay.tag("")),
        expect![[r#"
            the tag `` of handler `pay` is empty: give several tags one by one, and none for all
        "#]],
    );
    fails(
        with(|pay| pay.tag("A || B")),
        expect![[r#"
            the tag `A || B` of handler `pay` holds a `|`, which separates tags: give several tags one by one, and none for all
        "#]],
    );
    fails(
        with(|pay| pay.tag("*")),
        expect![[r#"
            the tag `*` of handler `pay` means every tag and cannot be one tag: give several tags one by one, and none for all
        "#]],
    );
    fails(
        with(|pay| pay.scope("")),
        expect![[r#"
        the scope of handler `pay` is empty: name it, or leave it out for topic and tag
    "#]],
    );
}

/// As of a variable that is not set, and as of one that somebody else has written.
#[test]
fn bad_names_of_instances_namespaces_and_deployments_are_told() {
    let broadcast = || builder("g", [pay().broadcast()]);
    fails(
        broadcast().instance_name(""),
        expect![[r#"
        the instance name "" of the group `g` is empty: give each instance a name of its own of up to 200 letters, digits and other signs but spaces and slashes, such as the pod's name or the host's, and see whether the variable that it comes from is set
    "#]],
    );
    fails(
        broadcast().instance_name("../../../x"),
        expect![[r#"
        the instance name "../../../x" of the group `g` holds a slash: give each instance a name of its own of up to 200 letters, digits and other signs but spaces and slashes, such as the pod's name or the host's, and see whether the variable that it comes from is set
    "#]],
    );
    fails(
        builder("g", [pay()]).namespace("../x"),
        expect![[r#"
        the namespace "../x" of the group `g` has a character that RocketMQ forbids: it has the characters a-z A-Z 0-9 _ - |; leave `.namespace(..)` out where there is none, and see whether a variable that it comes from is set
    "#]],
    );
    fails(
        builder("g", [pay()]).deployment(""),
        expect![[r#"
        the deployment "" of the group `g` is empty: leave `.deployment(..)` out where one deployment has the store for itself, and see whether a variable that it comes from is set
    "#]],
    );
    let error =
        Producer::builder("shop").name_server("127.0.0.1:9876").instance_name("a\nb").check().unwrap_err();
    assert!(
        error.to_string().starts_with("the instance name \"a\\nb\" of the group `shop` holds a space"),
        "{error}"
    );
    let error = Producer::builder("shop").name_server("127.0.0.1:9876").namespace("").check().unwrap_err();
    assert!(error.is_misconfiguration());
}

#[test]
fn delay_levels_that_no_broker_has_are_told() {
    builder("g", [pay()]).delay_levels("1s 5s 1m 2h 1d").check().unwrap();
    fails(
        builder("g", [pay()]).delay_levels("1s,5s"),
        expect![[r#"
            the delay levels "1s,5s" of the group `g` are not of the form that brokers have them in: write the broker's `messageDelayLevel`, as in `.delay_levels("1s 5s 10s 30s 1m")`
        "#]],
    );
}

#[test]
fn no_handlers_are_told() {
    fails(
        builder("g", []),
        expect![[r#"
        the consumer group `g` has no handlers: pass the annotated functions, as in `.handlers(handlers![add_gmv])`
    "#]],
    );
}

#[test]
fn two_handlers_for_one_message_are_told() {
    let other = || route("orders", "pay_again");
    fails(
        builder("g", [pay(), other()]),
        expect![[r#"
        the handlers `pay` and `pay_again` would both get every message of topic `orders`: give them different tags or topics, or register them with two consumer groups
    "#]],
    );
    fails(
        builder("g", [pay().tag("PAID"), other()]),
        expect![[r#"
        the handlers `pay` and `pay_again` would both get messages of topic `orders` with tag `PAID`: give them different tags or topics, or register them with two consumer groups
    "#]],
    );
    fails(
        builder("g", [pay(), other().tag("PAID")]),
        expect![[r#"
        the handlers `pay` and `pay_again` would both get messages of topic `orders` with tag `PAID`: give them different tags or topics, or register them with two consumer groups
    "#]],
    );
    fails(
        builder("g", [pay().tags(["PAID", "DUE"]), other().tags(["LATE", "DUE"])]),
        expect![[r#"
        the handlers `pay` and `pay_again` would both get messages of topic `orders` with tag `DUE`: give them different tags or topics, or register them with two consumer groups
    "#]],
    );
}

#[test]
fn a_scope_that_is_shared_unsaid_is_told() {
    let refund = || route("refunds", "refund").scope("money");
    fails(
        builder("g", [pay().scope("money"), refund()]),
        expect![[r#"
        the handlers `pay` and `refund` share the scope `money`, so that a message handled by one is a duplicate for the other: give them different scopes, or say `shared_scope` on both if that is meant
    "#]],
    );
    fails(
        builder("g", [pay().scope("money").shared_scope(), refund()]),
        expect![[r#"
        the handlers `pay` and `refund` share the scope `money`, so that a message handled by one is a duplicate for the other: give them different scopes, or say `shared_scope` on both if that is meant
    "#]],
    );
}

#[derive(Clone)]
struct Gmv;

#[test]
fn a_missing_state_is_told_with_what_there_is() {
    let route =
        || handler("orders", async |_: Order, _: State<Gmv>| {}).key(|order| order.id.clone()).named("pay");
    fails(
        builder("g", [route()]),
        expect![[r#"
        the handler `pay` takes `State<e2e::startup::Gmv>`, and the consumer has no state: give it one with `.state(..)` on the consumer's builder
    "#]],
    );
    fails(
        builder("g", [route()]).state(7_u8).state("text"),
        expect![[r#"
        the handler `pay` takes `State<e2e::startup::Gmv>`, and the consumer has only `&str`, `u8`: give it one with `.state(..)` on the consumer's builder
    "#]],
    );
    builder("g", [route()]).state(Gmv).check().unwrap();
}

#[test]
fn durations_that_disagree_and_zeros_are_told() {
    let secs = Duration::from_secs;
    fails(
        with(|pay| pay.lease(secs(60)).retention(secs(30)).timeout(secs(5))),
        expect![[r#"
        handler `pay`: lease (60s) is longer than retention (30s): make retention longer, or the lease shorter
    "#]],
    );
    fails(
        with(|pay| pay.timeout(secs(600)).retention(secs(300))),
        expect![[r#"
        handler `pay`: timeout (600s) is longer than retention (300s): make retention longer, or the timeout shorter
    "#]],
    );
    fails(
        with(|pay| pay.timeout(secs(5)).in_progress(InProgress::Wait(secs(6)))),
        expect![[r#"
        handler `pay`: in_progress wait (6s) is longer than timeout (5s): make the wait shorter
    "#]],
    );
    fails(
        with(|pay| pay.retention(secs(3600))),
        expect![[r#"
        handler `pay`: a backoff delay (3600s) is not shorter than retention (3600s): make retention longer, or the backoff shorter
    "#]],
    );
    fails(
        with(|pay| pay.backoff(Backoff::fixed(secs(900))).retention(secs(900))),
        expect![[r#"
        handler `pay`: a backoff delay (900s) is not shorter than retention (900s): make retention longer, or the backoff shorter
    "#]],
    );
    fails(
        with(|pay| pay.lease(Duration::from_millis(99))),
        expect![[r#"
        handler `pay`: lease (99ms) is shorter than 100ms: renewals could not keep it
    "#]],
    );
    fails(
        with(|pay| pay.lease(Duration::ZERO)),
        expect![[r#"
        handler `pay`: lease (0ns) is shorter than 100ms: renewals could not keep it
    "#]],
    );
    fails(
        with(|pay| pay.timeout(Duration::ZERO)),
        expect![[r#"
        handler `pay`: timeout is zero: it must be at least one
    "#]],
    );
    fails(
        with(|pay| pay.retention(Duration::ZERO)),
        expect![[r#"
        handler `pay`: lease (30s) is longer than retention (0ns): make retention longer, or the lease shorter
    "#]],
    );
    fails(
        with(|pay| pay.concurrency(0)),
        expect![[r#"
        handler `pay`: concurrency is zero: it must be at least one
    "#]],
    );
    fails(
        with(|pay| pay.max_attempts(0)),
        expect![[r#"
        handler `pay`: max_attempts is zero: it must be at least one
    "#]],
    );
    fails(
        builder("g", [pay()]).concurrency(0),
        expect![[r#"
        handler `pay`: concurrency is zero: it must be at least one
    "#]],
    );
}

#[test]
fn empty_credentials_are_told_and_the_others_never_shown() {
    let with = |credentials| builder("g", [pay()]).credentials(credentials);
    fails(
        with(Credentials::new("", "s3cret")),
        expect![[r#"
        the access key of the group `g` is empty: give the broker's own keys, or leave `.credentials(..)` out where it asks for none
    "#]],
    );
    fails(
        with(Credentials::new("user", " ")),
        expect![[r#"
        the secret key of the group `g` is empty: give the broker's own keys, or leave `.credentials(..)` out where it asks for none
    "#]],
    );
    fails(
        with(Credentials::new("user", "s3cret").security_token("")),
        expect![[r#"
        the security token of the group `g` is empty: give the broker's own keys, or leave `.credentials(..)` out where it asks for none
    "#]],
    );
    let good = with(Credentials::new("user", "s3cret"));
    good.check().unwrap();
    assert!(!format!("{good:?}").contains("s3cret"));
}

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
    crate::kit::seeing();
    builder.start().await.map(drop).unwrap_err();
    crate::kit::events(|event| {
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

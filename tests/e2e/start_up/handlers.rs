//! Handlers and their settings that a start refuses.
//!
//! Run alone: `cargo test --workspace --all-features --test e2e -- start_up::handlers::`
#![allow(clippy::needless_raw_string_hashes, reason = "expect-test writes them")]

use std::time::Duration;

use expect_test::expect;
use idem_rocketmq::Backoff;
use idem_rocketmq::prelude::*;
use idem_rocketmq::settings::InProgress;

use super::{builder, fails, pay, route, with};
use crate::support::kit::Order;

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
        the handler `pay` takes `State<e2e::start_up::handlers::Gmv>`, and the consumer has no state: give it one with `.state(..)` on the consumer's builder
    "#]],
    );
    fails(
        builder("g", [route()]).state(7_u8).state("text"),
        expect![[r#"
        the handler `pay` takes `State<e2e::start_up::handlers::Gmv>`, and the consumer has only `&str`, `u8`: give it one with `.state(..)` on the consumer's builder
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

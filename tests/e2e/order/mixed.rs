//! Members of one group of which some consume in order: brokers from 5.1.1 on take its retries for dead letters while a
//! queue is locked.
//!
//! Run alone: `cargo test --workspace --all-features --test e2e -- order::mixed::`
#![allow(clippy::needless_raw_string_hashes, reason = "expect-test writes them")]

use std::time::{Duration, Instant};

use expect_test::expect;
use idem_rocketmq::prelude::*;

use crate::support::kit::{self, Runs, SOON, secondly};
use crate::support::log::{Log, secs};
use crate::support::place::{Place, on_both};
use crate::support::servers::{self, OrderlyMember};

/// Fails once with each message.
fn failing_first(place: &Place, log: &Log) -> Route {
    let route = log.handler(&place.topic, |_, attempt| match attempt {
        1 => HandlerResult::Err("not yet".into()),
        _ => Ok(()),
    });
    route.max_attempts(3).backoff(secondly())
}

fn said(place: &Place, error: &impl std::fmt::Display) -> String {
    format!("{error}\n").replace(&place.group, "GROUP")
}

/// That a member consumes in order is logged once it is seen.
async fn until_told(place: &Place) {
    kit::until("it is told", SOON, async || {
        let told =
            kit::events(|event| event.level == tracing::Level::ERROR && event.is("group", &place.group));
        !told.is_empty()
    })
    .await;
}

on_both! {
    async fn a_member_beside_one_that_consumes_the_other_way_does_not_start(place: Plain of 2) {
        let (store, runs) = (MemoryStore::new(), Runs::default());
        let free = || place.member(&store, [kit::counting(&place.topic, &runs)]);
        let kept = || place.member(&store, [kit::counting(&place.topic, &runs).orderly()]);
        let running = free().start().await.unwrap();
        let error = kept().start().await.unwrap_err();
        expect![[r#"
            the consumer group GROUP has live members (1) that consume in any order, and this one would consume in order: brokers take retries for dead letters while a member consumes in order. Stop all members before the first new one starts, or give this one another consumer group
        "#]].assert_eq(&said(&place, &error));
        assert!(error.is_misconfiguration());
        running.shutdown().await;

        let running = kept().start().await.unwrap();
        let error = free().start().await.unwrap_err();
        expect![[r#"
            the consumer group GROUP has live members (1) that consume in order, and this one would consume in any order: brokers take retries for dead letters while a member consumes in order. Stop all members before the first new one starts, or give this one another consumer group
        "#]].assert_eq(&said(&place, &error));
        running.shutdown().await;
        // It has given its locks back.
        let begun = Instant::now();
        free().start().await.unwrap().shutdown().await;
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    }
}

/// The member was killed; its lock lives on for a minute.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_waits_for_the_lock_of_a_member_that_is_gone() {
    let (place, log) = (Place::plain(4).await, Log::default());
    servers::lock(place.name_server(), &place.group, &place.topic);
    place.send_all(place.orders(20)).await;
    let begun = Instant::now();
    let running = place.member(&MemoryStore::new(), [failing_first(&place, &log)]).start().await.unwrap();
    assert!(begun.elapsed() > Duration::from_secs(30), "{:?}", begun.elapsed());
    log.until(40, SOON).await;
    place.until_acked().await;
    running.shutdown().await;
    assert_eq!(place.dead_letters().await.len(), 0);
}

/// As a client of another kind does, which does not look who is there.
#[tokio::test(flavor = "multi_thread")]
async fn retries_have_another_way_beside_a_member_that_consumes_in_order() {
    let (place, log) = (Place::plain(4).await, Log::default());
    let running = place.member(&MemoryStore::new(), [failing_first(&place, &log)]).start().await.unwrap();
    let member = OrderlyMember::join(place.name_server(), &place.group, &place.topic);
    until_told(&place).await;
    // A batch would lie in one queue, which may be the other one's.
    for order in place.orders(40) {
        place.send(order).await;
    }
    // The other one consumes nothing of its queues, of which the one for retries may be one; its lock outlives it.
    kit::until("first attempts", SOON, async || log.runs().len() >= 10).await;
    drop(member);
    log.until(80, 2 * SOON).await;
    running.shutdown().await;
    assert_eq!(place.dead_letters().await.len(), 0);
}

/// A copy that its broker's longest level brought before its time.
#[tokio::test(flavor = "multi_thread")]
async fn a_retry_goes_on_waiting_beside_a_member_that_consumes_in_order() {
    let (place, log) = (Place::levels(4).await, Log::default());
    let end = |_: &str, attempt| match attempt {
        1 => HandlerResult::Err(Retry::after(secs(35)).because("not yet").into()),
        _ => Ok(()),
    };
    let route = log.handler(&place.topic, end).max_attempts(2);
    let member = place.member(&MemoryStore::new(), [route]).delay_levels(crate::support::place::LEVELS);
    let running = member.start().await.unwrap();
    place.send(place.order("patient")).await;
    log.until(1, SOON).await;
    // Its copy is stored: a broker that is locked before would take it for a dead letter.
    place.until_acked().await;
    let member = OrderlyMember::join(place.name_server(), &place.group, &place.topic);
    until_told(&place).await;
    drop(member);
    let runs = log.until(2, 2 * SOON).await;
    place.until_acked().await;
    running.shutdown().await;
    assert_eq!(place.dead_letters().await.len(), 0);
    let waited = runs[1].at - runs[0].at;
    assert!(waited > secs(33), "{waited:?}");
}

//! Members of one group that want different messages, as in a rolling deploy.
//!
//! Run alone: `cargo test --workspace --all-features --test e2e -- members::deploys::`
#![allow(clippy::needless_raw_string_hashes, reason = "expect-test writes them")]

use std::sync::Arc;

use expect_test::{Expect, expect};
use idem_rocketmq::Error;
use idem_rocketmq::consumer::Builder;
use idem_rocketmq::prelude::*;
use idem_rocketmq::store::Store;

use crate::support::kit::{self, Runs, SOON};
use crate::support::place::{Kind, Place};
use crate::support::servers::Member;

/// A member with a handler for each of the tags; all messages without one.
fn member(place: &Place, tags: &[&str], runs: &Runs) -> Builder<Arc<dyn Store>> {
    let routes = match tags {
        [] => vec![kit::counting(&place.topic, runs)],
        tags => tags.iter().map(|tag| kit::counting(&place.topic, runs).tag(*tag)).collect(),
    };
    place.member(&MemoryStore::new(), routes)
}

async fn refused(place: &Place, builder: Builder<Arc<dyn Store>>, expected: Expect) -> Error {
    builder.check().unwrap();
    let error = builder.start().await.map(drop).unwrap_err();
    let text = format!("{error}\n").replace(&place.topic, "TOPIC").replace(&place.group, "GROUP");
    expected.assert_eq(&text);
    assert!(error.is_misconfiguration() && !error.is_unreachable());
    error
}

fn warned(place: &Place) -> usize {
    let of = |event: &kit::Event| event.is("group", &place.group) && event.field("theirs").is_some();
    kit::events(|event| event.level == tracing::Level::WARN && of(event)).len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_wants_other_messages_does_not_start() {
    let (place, runs) = (Place::plain(2).await, Runs::default());
    let first = member(&place, &["PAID", "DUE"], &runs).start().await.unwrap();
    refused(&place, member(&place, &["PAID"], &runs), expect![[r#"
        the consumer group GROUP has live members (1) that subscribe to `TOPIC` with the tags DUE, PAID, and this one would subscribe to `TOPIC` with the tag PAID: RocketMQ keeps one subscription for a group, and messages that only some members want would be lost. Give what is new a consumer group of its own, or stop all members before the first new one starts; where those messages are not sent yet, or no more, deploy with `.allow_differing_subscriptions()`
    "#]]).await;
    refused(&place, member(&place, &[], &runs), expect![[r#"
        the consumer group GROUP has live members (1) that subscribe to `TOPIC` with the tags DUE, PAID, and this one would subscribe to `TOPIC` with every tag: RocketMQ keeps one subscription for a group, and messages that only some members want would be lost. Give what is new a consumer group of its own, or stop all members before the first new one starts; where those messages are not sent yet, or no more, deploy with `.allow_differing_subscriptions()`
    "#]]).await;
    let more = member(&place, &["PAID", "DUE"], &runs).handlers([kit::counting("unpaid", &runs)]);
    refused(&place, more, expect![[r#"
        the consumer group GROUP has live members (1) that subscribe to `TOPIC` with the tags DUE, PAID, and this one would subscribe to `TOPIC` with the tags DUE, PAID; `unpaid` with every tag: RocketMQ keeps one subscription for a group, and messages that only some members want would be lost. Give what is new a consumer group of its own, or stop all members before the first new one starts; where those messages are not sent yet, or no more, deploy with `.allow_differing_subscriptions()`
    "#]]).await;

    // The same in another order, and one who was told that they differ.
    let same = member(&place, &["DUE", "PAID"], &runs).start().await.unwrap();
    assert_eq!(warned(&place), 0);
    let told = member(&place, &["PAID"], &runs).allow_differing_subscriptions().start().await.unwrap();
    assert_eq!(warned(&place), 1);
    for member in [first, same, told] {
        member.shutdown().await;
    }
    // Nobody is left who could differ.
    member(&place, &[], &runs).start().await.unwrap().shutdown().await;
}

/// Each instance gets every message there, and here one of them does.
#[tokio::test(flavor = "multi_thread")]
async fn a_member_beside_one_that_broadcasts_does_not_start() {
    let (place, runs) = (Place::plain(2).await, Runs::default());
    let server = place.name_server().to_owned();
    let broadcasting = Member::join(&server, &place.group, "BROADCASTING", &place.topic, "*");
    let clustering = || member(&place, &[], &runs).allow_differing_subscriptions();
    refused(&place, clustering(), expect![[r#"
        the consumer group GROUP has live members (1) that consume by broadcasting, and this one would consume by clustering: the members of a group share its messages in one way, so give this one another consumer group
    "#]]).await;
    drop(broadcasting);
    kit::until("the other one is gone", SOON, async || match clustering().start().await {
        Ok(running) => {
            running.shutdown().await;
            true
        }
        Err(_) => false,
    })
    .await;
}

/// The recipe of `guide::rolling_deploys`, under load.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_tag_by_the_two_steps_loses_nothing() {
    const OLD: usize = 600;
    let (place, runs) = (Place::plain(4).await, Runs::default());
    let old = member(&place, &["PAID"], &runs).start().await.unwrap();
    let producer = place.bench.producer();
    let sending = {
        let (topic, producer) = (place.topic.clone(), place.bench.producer());
        tokio::spawn(async move {
            for number in 0..OLD {
                producer.send(kit::order(&topic, format!("paid-{number}")).tag("PAID")).await.unwrap();
            }
        })
    };
    kit::until("the old member works", SOON, async || runs.total() > 20).await;
    let new = || member(&place, &["PAID", "REFUNDED"], &runs).allow_differing_subscriptions();
    let first = new().start().await.unwrap();
    let second = new().start().await.unwrap();
    sending.await.unwrap();
    old.shutdown().await;
    for number in 0..100 {
        producer.send(place.order(format!("refund-{number}")).tag("REFUNDED")).await.unwrap();
    }
    kit::until_equal("orders", OLD + 100, SOON, async || runs.keys()).await;
    assert!(warned(&place) >= 1);
    first.shutdown().await;
    second.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_broker_tells_it_too() {
    let (place, runs) = (Place::embedded(Kind::Plain, 2).await, Runs::default());
    let tagged = |tag: &str| member(&place, &[tag], &runs);
    let first = tagged("PAID").start().await.unwrap();
    let error = tagged("DUE").start().await.unwrap_err();
    assert!(error.to_string().contains(&format!("`{}` with the tag PAID", place.topic)), "{error}");
    tagged("DUE").allow_differing_subscriptions().start().await.unwrap().shutdown().await;
    first.shutdown().await;
    tagged("DUE").start().await.unwrap().shutdown().await;
    let broadcasting = Member::join(place.name_server(), "models", "BROADCASTING", &place.topic, "*");
    let other = Consumer::builder("models").name_server(place.name_server()).store(MemoryStore::new());
    let error = other.handlers([kit::counting(&place.topic, &runs)]).start().await.unwrap_err();
    assert!(error.to_string().contains("by broadcasting"), "{error}");
    drop(broadcasting);
}

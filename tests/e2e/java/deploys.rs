//! Members of one group that want other messages, as in a rolling deploy.
#![allow(clippy::needless_raw_string_hashes, reason = "expect-test writes them")]

use std::sync::Arc;

use expect_test::{Expect, expect};
use idem_rocketmq::consumer::Builder;
use idem_rocketmq::prelude::*;
use idem_rocketmq::{Error, Store};

use super::Java;
use crate::kit::{self, Runs, SOON};
use crate::servers::Member;

/// A member with a handler for each of the tags; all messages without one.
fn member(java: &Java, tags: &[&str], runs: &Runs) -> Builder<Arc<dyn Store>> {
    let routes = match tags {
        [] => vec![kit::counting(&java.topic, runs)],
        tags => tags.iter().map(|tag| kit::counting(&java.topic, runs).tag(*tag)).collect(),
    };
    java.consumer().store(MemoryStore::new()).handlers(routes)
}

async fn refused(java: &Java, builder: Builder<Arc<dyn Store>>, expected: Expect) -> Error {
    builder.check().unwrap();
    let error = builder.start().await.map(drop).unwrap_err();
    let text = format!("{error}\n").replace(&java.topic, "TOPIC").replace(&java.group, "GROUP");
    expected.assert_eq(&text);
    assert!(error.is_misconfiguration() && !error.is_unreachable());
    error
}

fn warned(java: &Java) -> usize {
    let of = |event: &kit::Event| event.is("group", &java.group) && event.field("theirs").is_some();
    kit::events(|event| event.level == tracing::Level::WARN && of(event)).len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_wants_other_messages_does_not_start() {
    let (java, runs) = (Java::plain("differ", 2).await, Runs::default());
    let first = member(&java, &["PAID", "DUE"], &runs).start().await.unwrap();
    refused(&java, member(&java, &["PAID"], &runs), expect![[r#"
        the consumer group GROUP has live members (1) that subscribe to `TOPIC` with the tags DUE, PAID, and this one would subscribe to `TOPIC` with the tag PAID: RocketMQ keeps one subscription for a group, and messages that only some members want would be lost. Give what is new a consumer group of its own, or stop all members before the first new one starts; where those messages are not sent yet, or no more, deploy with `.allow_differing_subscriptions()`
    "#]]).await;
    refused(&java, member(&java, &[], &runs), expect![[r#"
        the consumer group GROUP has live members (1) that subscribe to `TOPIC` with the tags DUE, PAID, and this one would subscribe to `TOPIC` with every tag: RocketMQ keeps one subscription for a group, and messages that only some members want would be lost. Give what is new a consumer group of its own, or stop all members before the first new one starts; where those messages are not sent yet, or no more, deploy with `.allow_differing_subscriptions()`
    "#]]).await;
    let more = member(&java, &["PAID", "DUE"], &runs).handlers([kit::counting("refunds", &runs)]);
    refused(&java, more, expect![[r#"
        the consumer group GROUP has live members (1) that subscribe to `TOPIC` with the tags DUE, PAID, and this one would subscribe to `TOPIC` with the tags DUE, PAID; `refunds` with every tag: RocketMQ keeps one subscription for a group, and messages that only some members want would be lost. Give what is new a consumer group of its own, or stop all members before the first new one starts; where those messages are not sent yet, or no more, deploy with `.allow_differing_subscriptions()`
    "#]]).await;

    // The same in another order, and one who was told that they differ.
    let same = member(&java, &["DUE", "PAID"], &runs).start().await.unwrap();
    assert_eq!(warned(&java), 0);
    let told = member(&java, &["PAID"], &runs).allow_differing_subscriptions().start().await.unwrap();
    assert_eq!(warned(&java), 1);
    for member in [first, same, told] {
        member.shutdown().await;
    }
    // Nobody is left who could differ.
    member(&java, &[], &runs).start().await.unwrap().shutdown().await;
}

/// Each instance gets every message there, and here one of them does.
#[tokio::test(flavor = "multi_thread")]
async fn a_member_beside_one_that_broadcasts_does_not_start() {
    let (java, runs) = (Java::plain("models", 2).await, Runs::default());
    let server = java.bench.name_server().to_owned();
    let broadcasting = Member::join(&server, &java.group, "BROADCASTING", &java.topic, "*");
    let clustering = || member(&java, &[], &runs).allow_differing_subscriptions();
    refused(&java, clustering(), expect![[r#"
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
    let (java, runs) = (Java::plain("steps", 4).await, Runs::default());
    let old = member(&java, &["PAID"], &runs).start().await.unwrap();
    let producer = java.bench.producer();
    let sending = {
        let (topic, producer) = (java.topic.clone(), java.bench.producer());
        tokio::spawn(async move {
            for number in 0..OLD {
                producer.send(kit::order(&topic, format!("paid-{number}")).tag("PAID")).await.unwrap();
            }
        })
    };
    kit::until("the old member works", SOON, async || runs.total() > 20).await;
    let new = || member(&java, &["PAID", "REFUNDED"], &runs).allow_differing_subscriptions();
    let first = new().start().await.unwrap();
    let second = new().start().await.unwrap();
    sending.await.unwrap();
    old.shutdown().await;
    for number in 0..100 {
        producer.send(kit::order(&java.topic, format!("refund-{number}")).tag("REFUNDED")).await.unwrap();
    }
    kit::until_equal("orders", OLD + 100, SOON, async || runs.keys()).await;
    assert!(warned(&java) >= 1);
    first.shutdown().await;
    second.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_broker_tells_it_too() {
    let broker = kit::broker("orders", 2).await;
    let (store, runs) = (MemoryStore::new(), Runs::default());
    let member = |tag| kit::member(&broker, "mixed", &store, [kit::counting("orders", &runs).tag(tag)]);
    let first = member("PAID").start().await.unwrap();
    let error = member("DUE").start().await.unwrap_err();
    assert!(error.to_string().contains("`orders` with the tag PAID"), "{error}");
    member("DUE").allow_differing_subscriptions().start().await.unwrap().shutdown().await;
    first.shutdown().await;
    member("DUE").start().await.unwrap().shutdown().await;
    let broadcasting = Member::join(broker.name_server(), "models", "BROADCASTING", "orders", "*");
    let other = kit::member(&broker, "models", &store, [kit::counting("orders", &runs)]);
    let error = other.start().await.unwrap_err();
    assert!(error.to_string().contains("by broadcasting"), "{error}");
    drop(broadcasting);
    broker.shutdown().await;
}

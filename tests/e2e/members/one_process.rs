//! Two members of one group in one process.
//!
//! Run alone: `cargo test --workspace --all-features --test e2e -- members::one_process::`
#![allow(clippy::needless_raw_string_hashes, reason = "expect-test writes them")]

use expect_test::expect;
use idem_rocketmq::prelude::*;

use crate::support::kit::{self, Runs, SOON};
use crate::support::place::Place;

#[tokio::test(flavor = "multi_thread")]
async fn two_consumers_of_one_group_in_one_process_share_its_messages() {
    let place = Place::plain(8).await;
    let store = MemoryStore::new();
    let (first, second) = (Runs::default(), Runs::default());
    let one = place.member(&store, [kit::counting(&place.topic, &first)]).start().await.unwrap();
    let two = place.member(&store, [kit::counting(&place.topic, &second)]).start().await.unwrap();
    let sent = std::cell::Cell::new(0);
    kit::until("both get messages", SOON, async || {
        let batch = (0..64).map(|number| place.order(sent.get() + number)).collect();
        place.send_all(batch).await;
        sent.set(sent.get() + 64);
        first.total() > 0 && second.total() > 0
    })
    .await;
    kit::until_equal("runs", sent.get(), SOON, async || first.total() + second.total()).await;
    one.shutdown().await;
    two.shutdown().await;
    assert_eq!(first.keys() + second.keys(), sent.get());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_consumers_of_one_group_with_one_instance_name_are_told() {
    let place = Place::plain(4).await;
    let (store, runs) = (MemoryStore::new(), Runs::default());
    let member = || place.member(&store, [kit::counting(&place.topic, &runs)]);
    let first = member().instance_name("one").start().await.unwrap();
    let error = member().instance_name("one").start().await.unwrap_err();
    expect![[r#"
        the consumer group `GROUP` already has a consumer named `one` in this process: the brokers would take both for one, and half of the messages would stay; give each its own `.instance_name(..)`, or none, or shut the first one down before
    "#]].assert_eq(&format!("{error}\n").replace(&place.group, "GROUP"));
    assert!(error.is_misconfiguration());

    let other = member().instance_name("two").start().await.unwrap();
    first.shutdown().await;
    let again = member().instance_name("one").start().await.unwrap();
    place.send_all(place.orders(100)).await;
    runs.until_total(100, SOON).await;
    again.shutdown().await;
    other.shutdown().await;
}

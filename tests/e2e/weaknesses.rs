//! The weaknesses of each strategy alone that show without a broker.
//!
//! Run alone: `cargo test --workspace --all-features --test e2e -- weaknesses::`

use std::sync::Arc;

use idem_rocketmq::extract::DeliveryBuilder;
use idem_rocketmq::handler::KeySource;
use idem_rocketmq::prelude::*;
use idem_rocketmq::settings::MissingKey;
use idem_rocketmq::store::Store;
use idem_rocketmq::testing::{Outcome, TestConsumer};

use crate::support::kit::{Order, Runs, counting};

fn paid() -> DeliveryBuilder {
    Delivery::builder("orders").body(r#"{"id":"7"}"#)
}

/// A handler that counts its runs, with a key that is not in the payload.
fn counting_by(key: KeySource, runs: &Runs) -> Route {
    let runs = runs.clone();
    let count = move |order: Order| {
        runs.add(&order.id);
        async {}
    };
    handler("orders", count).key_from(key)
}

fn consumer(store: &Arc<dyn Store>, instance: &str, route: Route) -> TestConsumer {
    let builder = Consumer::builder("shop").instance_name(instance);
    builder.shared_store(store.clone()).handlers([route]).test().unwrap()
}

#[tokio::test]
async fn an_instance_that_changes_its_name_handles_everything_again() {
    let (store, runs) = (Arc::new(MemoryStore::new()) as Arc<dyn Store>, Runs::default());
    for (instance, outcome) in
        [("pod-1", Outcome::Completed), ("pod-1", Outcome::Duplicate), ("pod-2", Outcome::Completed)]
    {
        let consumer = consumer(&store, instance, counting("orders", &runs).broadcast());
        assert_eq!(consumer.deliver(paid().build()).await.outcome, outcome, "{instance}");
    }
    assert_eq!(runs.total(), 2);
}

#[tokio::test]
async fn order_alone_lets_a_duplicate_through() {
    let store = Arc::new(MemoryStore::new()) as Arc<dyn Store>;
    let runs = Runs::default();
    let without_key =
        counting_by(KeySource::property("none"), &runs).missing_key(MissingKey::RunWithoutDedup);
    let consumer = consumer(&store, "a", without_key.orderly());
    for _ in 0..2 {
        assert_eq!(consumer.deliver(paid().build()).await.outcome, Outcome::CompletedWithoutDedup);
    }
    assert_eq!(runs.total(), 2);
}

#[tokio::test]
async fn the_messages_own_id_does_not_tell_what_a_producer_sends_again() {
    let (store, runs) = (Arc::new(MemoryStore::new()) as Arc<dyn Store>, Runs::default());
    let consumer = consumer(&store, "a", counting_by(KeySource::UniqueKey, &runs));
    let sent = |id: &str| paid().unique_key(id).build();
    assert_eq!(consumer.deliver(sent("first send")).await.outcome, Outcome::Completed);
    assert_eq!(consumer.deliver(sent("first send")).await.outcome, Outcome::Duplicate);
    assert_eq!(consumer.deliver(sent("second send")).await.outcome, Outcome::Completed);
    assert_eq!(runs.total(), 2);
}

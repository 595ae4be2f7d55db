//! A panic in a handler fails its message, and one in a store ends no consumer silently.
//!
//! Run alone: `cargo test --workspace --all-features --test e2e -- delivery::panics::`

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use idem_core::store::{Answer, Answers, Claim, ClaimRequest, CompleteRequest, ReleaseRequest, RenewRequest};
use idem_core::{Record, RecordKey, StoreError, Token};
use idem_rocketmq::prelude::*;
use idem_rocketmq::store::Store;

use crate::support::kit::{self, Order, Runs, SOON, counted};
use crate::support::place::{Kind, Place};

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("dropped on purpose");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_whose_drop_panics_when_it_is_cancelled_stops_nobody() {
    let (place, runs) = (Place::embedded(Kind::Levels, 1).await, Runs::default());
    let seen = runs.clone();
    let route = handler(&*place.topic, move |order: Order| {
        seen.add(&order.id);
        async move {
            if order.id == "bad" {
                let _bomb = Bomb;
                std::future::pending::<()>().await;
            }
        }
    });
    let route = route.key(|order| order.id.clone()).timeout(Duration::from_secs(1)).backoff(kit::secondly());
    let running = place.member(&MemoryStore::new(), [route.max_attempts(2)]).start().await.unwrap();
    place.send(place.order("bad")).await;
    let letters = place.until_dead_letters(1).await;
    assert_eq!(kit::note(&letters[0], "IDEM_ATTEMPTS"), "2");
    place.send(place.order("good")).await;
    kit::until("its neighbour", SOON, async || runs.of("good") == 1).await;
    assert_eq!(runs.of("bad"), 2);
    assert!(counted("idem_panics_total", &[("where", "drop")]) >= 2);
    running.shutdown().await;
}

/// A store that panics outside of its answers from when it is told to, as a bug of idem's would.
#[derive(Clone, Default)]
struct Breaking {
    store: MemoryStore,
    is_broken: Arc<AtomicBool>,
}

impl Store for Breaking {
    fn name(&self) -> &'static str {
        "breaking"
    }

    fn max_batch(&self) -> usize {
        assert!(!self.is_broken.load(Ordering::SeqCst), "on purpose");
        1_000
    }

    fn claim<'a>(&'a self, batch: &'a [ClaimRequest]) -> BoxFuture<'a, Answers<Claim>> {
        self.store.claim(batch)
    }

    fn renew<'a>(&'a self, batch: &'a [RenewRequest]) -> BoxFuture<'a, Answers<Answer>> {
        self.store.renew(batch)
    }

    fn complete<'a>(&'a self, batch: &'a [CompleteRequest]) -> BoxFuture<'a, Answers<Answer>> {
        self.store.complete(batch)
    }

    fn release<'a>(&'a self, batch: &'a [ReleaseRequest]) -> BoxFuture<'a, Answers<Answer>> {
        self.store.release(batch)
    }

    fn read<'a>(&'a self, key: &'a RecordKey) -> BoxFuture<'a, Result<Option<Record>, StoreError>> {
        self.store.read(key)
    }

    fn remove<'a>(
        &'a self,
        key: &'a RecordKey,
        claim: Option<Token>,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        self.store.remove(key, claim)
    }
}

/// Invariant 9.
#[tokio::test(flavor = "multi_thread")]
async fn a_panic_of_idems_own_ends_the_run_with_an_error_and_leaves_the_messages() {
    let (place, runs, store) = (Place::embedded(Kind::Levels, 1).await, Runs::default(), Breaking::default());
    let consumer = || place.consumer().store(store.clone()).handlers([kit::counting(&place.topic, &runs)]);
    let running = tokio::spawn(consumer().run());
    place.send(place.order("first")).await;
    runs.until_total(1, SOON).await;
    store.is_broken.store(true, Ordering::SeqCst);
    place.send(place.order("second")).await;
    let ended = tokio::time::timeout(SOON, running).await.expect("it ends by itself").unwrap();
    let error = ended.unwrap_err();
    assert!(error.to_string().contains("has panicked (a lane to the store)"), "{error}");
    assert!(!error.is_misconfiguration());
    assert!(counted("idem_panics_total", &[("where", "lane")]) >= 1);
    store.is_broken.store(false, Ordering::SeqCst);
    let again = consumer().start().await.unwrap();
    kit::until("the message that was left", SOON, async || runs.of("second") == 1).await;
    again.shutdown().await;
}

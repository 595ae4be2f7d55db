//! The memory store, on a paused clock.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, ready};
use idem_core::store::conformance::Harness;
use idem_core::store::{ClaimRequest, CompleteRequest, Locality};
use idem_core::{Clock, Fence, IdempotencyKey, MemoryStore, Namespace, RecordKey, Store, Token};

struct Memory;

impl Memory {
    fn paused() -> Self {
        tokio::time::pause();
        Self
    }
}

impl Harness for Memory {
    fn store(&self) -> BoxFuture<'_, Arc<dyn Store>> {
        Box::pin(ready(Arc::new(MemoryStore::builder().clock(Clock::tokio()).build()) as Arc<dyn Store>))
    }

    fn pass(&self, time: Duration) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            // Fences come from the wall clock, which cannot be paused and must not stand still.
            std::thread::sleep(Duration::from_millis(1));
            tokio::time::advance(time).await;
        })
    }

    fn bounded(&self, records: usize) -> BoxFuture<'_, Option<Arc<dyn Store>>> {
        let store = MemoryStore::builder().clock(Clock::tokio()).capacity(records).build();
        Box::pin(ready(Some(Arc::new(store) as Arc<dyn Store>)))
    }
}

idem_core::conformance_tests!(Memory::paused());

#[tokio::test]
async fn the_suite_can_be_run_as_one() {
    idem_core::store::conformance::run(&Memory::paused()).await;
}

fn claim(name: &str, retention: Duration) -> ClaimRequest {
    let key = RecordKey::new(Namespace::new(["memory"]), IdempotencyKey::new(name).unwrap());
    ClaimRequest { key, token: Token::random(), lease: Duration::from_secs(1), retention, fingerprint: None }
}

#[test]
fn answers_are_ready_at_the_first_poll_without_any_runtime() {
    let store = MemoryStore::new();
    assert_eq!(store.locality(), Locality::InProcess);
    let batch = [claim("a", Duration::from_secs(1)), claim("b", Duration::from_secs(1))];
    assert_eq!(store.claim(&batch).now_or_never().unwrap().unwrap().len(), 2);
    assert!(store.renew(&[]).now_or_never().is_some());
    assert!(store.read(&batch[0].key).now_or_never().unwrap().unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn expired_records_are_dropped_a_few_at_a_time_by_later_operations() {
    let store = MemoryStore::builder().clock(Clock::tokio()).build();
    let short = Duration::from_secs(1);
    for index in 0..10_000 {
        let request = claim(&format!("first {index}"), short);
        store.claim(std::slice::from_ref(&request)).await.unwrap();
        let (key, token) = (request.key, request.token);
        let request =
            CompleteRequest { key, token, fence: Fence(1), retention: short, fingerprint: None, reply: None };
        store.complete(&[request]).await.unwrap();
    }
    assert_eq!(store.len(), 10_000);
    tokio::time::advance(Duration::from_secs(10)).await;
    for index in 0..15_000 {
        store.claim(&[claim(&format!("second {index}"), short)]).await.unwrap();
    }
    assert!(store.len() < 16_000, "{} records, of which 15000 are valid", store.len());
}

#[tokio::test(start_paused = true)]
async fn an_expired_record_is_not_seen_though_it_was_not_dropped_yet() {
    let store = MemoryStore::builder().clock(Clock::tokio()).build();
    let batch: Vec<_> = (0..1_000).map(|index| claim(&index.to_string(), Duration::from_secs(1))).collect();
    store.claim(&batch).await.unwrap();
    tokio::time::advance(Duration::from_secs(3)).await;
    for request in batch.iter().rev().take(100) {
        assert_eq!(store.read(&request.key).await.unwrap(), None);
        assert!(!store.remove(&request.key).await.unwrap());
    }
    assert!(store.len() > 500, "{} records: they were all dropped at once", store.len());
}

#[test]
fn clones_share_their_records() {
    let store = MemoryStore::new();
    let request = claim("shared", Duration::from_secs(9));
    store.clone().claim(std::slice::from_ref(&request)).now_or_never();
    assert_eq!(store.len(), 1);
    assert!(store.remove(&request.key).now_or_never().unwrap().unwrap());
    assert!(store.is_empty());
}

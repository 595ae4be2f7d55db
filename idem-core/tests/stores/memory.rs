//! The memory store, on a paused clock.
//!
//! Run alone: `cargo test -p idem-core --features conformance --test stores -- memory::`

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, ready};
use idem_core::engine::{Admission, Engine};
use idem_core::store::conformance::Harness;
use idem_core::store::{Answer, Claim, ClaimRequest, CompleteRequest, Locality};
use idem_core::{
    Clock, Fence, IdempotencyKey, Job, MemoryStore, Namespace, RecordKey, Settings, Store, Token,
};
use tokio::runtime::Handle;

use crate::support::logs;

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
    ClaimRequest::new(key, Token::random(), Duration::from_secs(1), retention, idem_core::MemberId::random())
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
        let request = CompleteRequest::new(key, token, Fence(1), short, idem_core::MemberId::random());
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
        assert!(!store.remove(&request.key, None).await.unwrap());
    }
    assert!(store.len() > 500, "{} records: they were all dropped at once", store.len());
}

async fn complete(store: &MemoryStore, request: &ClaimRequest) {
    let ClaimRequest { key, token, retention, .. } = request.clone();
    let done = CompleteRequest::new(key, token, Fence(1), retention, idem_core::MemberId::random());
    assert_eq!(store.complete(&[done]).await.unwrap().remove(0).unwrap(), Answer::Done);
}

/// More than were kept by default once, which a consumer of three new keys a second reached in its fourth day.
#[tokio::test]
async fn a_store_as_it_comes_is_bounded_by_memory_alone() {
    let store = MemoryStore::new();
    let day = Duration::from_hours(24);
    for batch in 0..1_050 {
        let batch: Vec<_> = (0..1_000).map(|one| claim(&format!("{batch} {one}"), day)).collect();
        for answer in store.claim(&batch).await.unwrap() {
            assert!(matches!(answer.unwrap(), Claim::Claimed { .. }));
        }
    }
    assert_eq!(store.len(), 1_050_000);
}

#[tokio::test(start_paused = true)]
async fn a_full_store_forgets_what_was_completed_first_where_it_may() {
    let day = Duration::from_hours(24);
    let store =
        MemoryStore::builder().clock(Clock::tokio()).capacity(1_000).forget_oldest_completed().build();
    let running = claim("running", day);
    store.claim(std::slice::from_ref(&running)).await.unwrap().remove(0).unwrap();
    let all: Vec<_> = (0..3_000).map(|one| claim(&format!("{one}"), day)).collect();
    for request in &all {
        store.claim(std::slice::from_ref(request)).await.unwrap().remove(0).unwrap();
        complete(&store, request).await;
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(store.len() <= 1_000);
    }
    assert!(store.read(&running.key).await.unwrap().is_some(), "what is in progress is kept");
    for (place, request) in all.iter().enumerate() {
        let is_kept = store.read(&request.key).await.unwrap().is_some();
        assert_eq!(is_kept, place > 2_000, "{place}");
    }
}

#[tokio::test]
async fn a_store_full_of_what_is_in_progress_forgets_nothing() {
    let store = MemoryStore::builder().capacity(2).forget_oldest_completed().build();
    let day = Duration::from_hours(24);
    for name in ["a", "b"] {
        store.claim(&[claim(name, day)]).await.unwrap().remove(0).unwrap();
    }
    let error = store.claim(&[claim("c", day)]).await.unwrap().remove(0).unwrap_err();
    assert!(error.is_full() && error.to_string().contains("`capacity`"), "{error}");
}

/// Messages wait for room, and the log is not full of them.
#[tokio::test(start_paused = true)]
async fn that_a_store_is_full_is_said_once_and_that_it_has_room_again() {
    const CAPACITY: usize = 37;
    logs::gather();
    let store = MemoryStore::builder().clock(Clock::tokio()).capacity(CAPACITY).build();
    let engine = Engine::with(Arc::new(store.clone()), Clock::tokio(), Handle::current());
    let gate = engine.gate("crowded", Settings::new().resolve().unwrap());
    let enter = |name: String| {
        let key = RecordKey::new(Namespace::new(["full"]), IdempotencyKey::new(name).unwrap());
        gate.enter(Job::new(key)).into_leader().expect("a fresh key leads")
    };
    let day = Duration::from_hours(24);
    let old: Vec<_> = (0..CAPACITY).map(|one| claim(&format!("old {one}"), day)).collect();
    store.claim(&old).await.unwrap();
    let waiting: Vec<_> = (0..20)
        .map(|one| {
            let (gate, leader) = (gate.clone(), enter(format!("new {one}")));
            tokio::spawn(async move {
                let mut admission = gate.claim(&mut [leader].into()).await.remove(0);
                while let Admission::Later(later) = admission {
                    admission = later.await;
                }
                assert!(matches!(admission, Admission::Run(_)), "{admission:?}");
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_mins(10)).await;
    assert!(waiting.iter().all(|message| !message.is_finished()), "they wait for room");
    assert_eq!(logs::saying(&["ERROR", "full since now", "all of its 37 records"]).len(), 1);
    assert!(logs::saying(&["crowded"]).is_empty(), "{:?}", logs::saying(&["crowded"]));
    for request in &old {
        store.remove(&request.key, None).await.unwrap();
    }
    for message in waiting {
        message.await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(10)).await;
    gate.claim(&mut [enter("last".to_owned())].into()).await;
    assert_eq!(
        logs::saying(&["has room again", "full_for=59"]).len(),
        1,
        "{:?}",
        logs::saying(&["room again"])
    );
}

#[test]
fn clones_share_their_records() {
    let store = MemoryStore::new();
    let request = claim("shared", Duration::from_secs(9));
    store.clone().claim(std::slice::from_ref(&request)).now_or_never();
    assert_eq!(store.len(), 1);
    assert!(store.remove(&request.key, None).now_or_never().unwrap().unwrap());
    assert!(store.is_empty());
}

//! Invariant 9: a panic is one message's failure, or a loud end; nothing waits for ever.

use std::fmt;
use std::sync::atomic::AtomicBool;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;

use super::*;
use crate::engine::{Finished, RunProgress};
use crate::store::{
    Answer, Answers, Claim, ClaimRequest, CompleteRequest, Locality, ReleaseRequest, RenewRequest, Store,
    StoreError,
};
use crate::{HandlerError, Record, Token};

/// A store that panics where it is told to.
struct ExplosiveStore {
    inner: MemoryStore,
    locality: Locality,
    /// Where, and how often.
    panics: Mutex<(&'static str, usize)>,
    count: AtomicUsize,
}

impl ExplosiveStore {
    fn new(locality: Locality) -> Arc<Self> {
        let inner = MemoryStore::builder().clock(Clock::tokio()).build();
        Arc::new(Self { inner, locality, panics: Mutex::default(), count: AtomicUsize::new(0) })
    }

    fn arm(&self, place: &'static str, times: usize) {
        *self.panics.lock() = (place, times);
        self.count.store(0, Ordering::SeqCst);
    }

    fn enter(&self, place: &'static str) {
        let mut panics = self.panics.lock();
        if panics.0 == place && panics.1 > 0 {
            panics.1 -= 1;
            drop(panics);
            self.count.fetch_add(1, Ordering::SeqCst);
            panic!("{place} panics on purpose");
        }
    }
}

impl Store for ExplosiveStore {
    fn name(&self) -> &'static str {
        "explosive"
    }

    fn locality(&self) -> Locality {
        self.enter("locality");
        self.locality
    }

    fn max_batch(&self) -> usize {
        self.enter("max_batch");
        1_000
    }

    fn known(&self, _: &RecordKey) -> Option<Claim> {
        self.enter("known");
        None
    }

    fn claim<'a>(&'a self, batch: &'a [ClaimRequest]) -> BoxFuture<'a, Answers<Claim>> {
        self.enter("the call of claim");
        Box::pin(async move {
            self.enter("claim");
            self.inner.claim(batch).await
        })
    }

    fn renew<'a>(&'a self, batch: &'a [RenewRequest]) -> BoxFuture<'a, Answers<Answer>> {
        Box::pin(async move {
            self.enter("renew");
            self.inner.renew(batch).await
        })
    }

    fn complete<'a>(&'a self, batch: &'a [CompleteRequest]) -> BoxFuture<'a, Answers<Answer>> {
        Box::pin(async move {
            self.enter("complete");
            self.inner.complete(batch).await
        })
    }

    fn release<'a>(&'a self, batch: &'a [ReleaseRequest]) -> BoxFuture<'a, Answers<Answer>> {
        Box::pin(async move {
            self.enter("release");
            self.inner.release(batch).await
        })
    }

    fn read<'a>(&'a self, key: &'a RecordKey) -> BoxFuture<'a, Result<Option<Record>, StoreError>> {
        self.inner.read(key)
    }

    fn remove<'a>(
        &'a self,
        key: &'a RecordKey,
        claim: Option<Token>,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        self.inner.remove(key, claim)
    }
}

fn engine_on(store: &Arc<ExplosiveStore>) -> Engine {
    Engine::with(store.clone(), Clock::tokio(), Handle::current())
}

#[tokio::test(start_paused = true)]
async fn a_store_that_panics_fails_its_batch_and_its_lane_goes_on() {
    for locality in [Locality::Remote, Locality::InProcess] {
        let store = ExplosiveStore::new(locality);
        let engine = engine_on(&store);
        let gate = gate(&engine, Settings::new());
        for place in ["known", "the call of claim", "claim", "renew", "complete"] {
            store.arm(place, 3);
            let work = |_, _| async {
                tokio::time::sleep(secs(100)).await;
                Ok(())
            };
            // A panic of what may be asked at once costs no message its way.
            let decision = handle(&gate, job(place), work).await.decision;
            assert_eq!(decision.outcome, Outcome::Completed, "{place}");
            let wanted = if place == "known" { 1 } else { 3 };
            assert_eq!(store.count.load(Ordering::SeqCst), wanted, "{place}");
        }
        store.arm("release", 3);
        let decision = fail(&gate, job("release")).await.decision;
        assert_eq!((decision.outcome, decision.attempt), (Outcome::Failed, 1));
        store.arm("none", 0);
        assert_eq!(succeed(&gate, job("release")).await.attempt, 2);
        assert_eq!(engine.fault().place(), None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_a_lane_ends_the_engine_and_nobody_waits_for_it() {
    let store = ExplosiveStore::new(Locality::Remote);
    let engine = engine_on(&store);
    let gate = gate(&engine, Settings::new());
    store.arm("max_batch", 1);
    let decisions = futures_util::future::join_all((0..10).map(|number| {
        let (gate, job) = (gate.clone(), job(&number.to_string()));
        async move { succeed(&gate, job).await }
    }));
    let decisions: Vec<_> = decisions.await.into_iter().map(|decision| decision.outcome).collect();
    assert_eq!(decisions, [Outcome::Shutdown; 10]);
    assert_eq!(engine.fault().place(), Some("a lane to the store"));
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_the_watch_ends_the_engine() {
    let store = ExplosiveStore::new(Locality::Remote);
    let engine = engine_on(&store);
    let gate = gate(&engine, Settings::new());
    let armed = store.clone();
    let work = |_, _| async move {
        // The next to ask where the store is renews the lease.
        armed.arm("locality", 1);
        std::future::pending().await
    };
    let decision = handle(&gate, job("a"), work).await.decision;
    assert_eq!((decision.verdict, decision.outcome), (Verdict::Leave, Outcome::Shutdown));
    engine.fault().failed().await;
    assert_eq!(engine.fault().place(), Some("the renewal of leases"));
}

/// Panics when it is dropped.
struct PanickingCapture(Arc<AtomicUsize>);

impl Drop for PanickingCapture {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
        panic!("dropped on purpose");
    }
}

#[tokio::test(start_paused = true)]
async fn a_drop_that_panics_when_its_handler_is_cancelled_counts_up_to_the_dead_letter() {
    let (engine, _) = engine();
    let times = Settings { timeout: Some(secs(5)), max_attempts: Some(3), ..Settings::new() };
    let gate = gate(&engine, times);
    let count = Arc::new(AtomicUsize::new(0));
    for attempt in 1..=3 {
        let bomb = PanickingCapture(count.clone());
        let work = |_, _| async move {
            let _bomb = bomb;
            std::future::pending().await
        };
        let settled = handle(&gate, job("a"), work).await;
        let expected = if attempt < 3 { Outcome::TimedOut } else { Outcome::Exhausted };
        assert_eq!((settled.decision.outcome, settled.decision.attempt), (expected, attempt));
    }
    assert_eq!(count.load(Ordering::SeqCst), 3);
    assert_eq!(succeed(&gate, job("b")).await.outcome, Outcome::Completed);
}

#[tokio::test(start_paused = true)]
async fn what_a_handler_has_returned_counts_although_its_drop_panics() {
    let (engine, _) = engine();
    let gate = gate(&engine, Settings::new());
    let count = Arc::new(AtomicUsize::new(0));
    for begins in [true, false] {
        let bomb = PanickingCapture(count.clone());
        let future = std::future::poll_fn(move |_| {
            let _ = &bomb;
            std::task::Poll::Ready(Ok(()))
        });
        let decision = by(&gate, job(&begins.to_string()), begins, Box::pin(future)).await;
        assert_eq!(decision.outcome, Outcome::Completed);
    }
    assert_eq!(count.load(Ordering::SeqCst), 2);
}

/// A run that is begun where it is claimed, or driven.
async fn by(gate: &Gate, job: Job, begins: bool, work: BoxFuture<'static, HandlerResult>) -> Decision {
    let leader = gate.enter(job).into_leader().unwrap();
    let mut leaders = VecDeque::from([leader]);
    let Admission::Run(claimed) = gate.claim(&mut leaders).await.remove(0) else { panic!("it is free") };
    let finished: Finished = if begins {
        match claimed.begin(|_, _| work) {
            RunProgress::Over(finished) => finished,
            RunProgress::Going(run) => run.await,
        }
    } else {
        claimed.run(|_, _| work).await
    };
    gate.settle_one(finished).await.decision
}

/// An error that panics where it is told to.
struct BadError {
    place: &'static str,
    is_dropped: AtomicBool,
}

impl BadError {
    fn enter(&self, place: &str) {
        assert!(self.place != place, "{place} panics on purpose");
    }
}

impl fmt::Display for BadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.enter("display");
        f.write_str("an error")
    }
}

impl fmt::Debug for BadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BadError")
    }
}

impl std::error::Error for BadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.enter("source");
        None
    }
}

impl Drop for BadError {
    fn drop(&mut self) {
        if !self.is_dropped.swap(true, Ordering::SeqCst) && !std::thread::panicking() {
            self.enter("drop");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_that_panics_is_a_failed_attempt() {
    let (engine, _) = engine();
    let gate = gate(&engine, Settings { max_attempts: Some(2), ..Settings::new() });
    for place in ["display", "source", "drop"] {
        for begins in [true, false] {
            let name = format!("{place} {begins}");
            for outcome in [Outcome::Panicked, Outcome::Exhausted] {
                let error = BadError { place, is_dropped: AtomicBool::new(false) };
                let work = Box::pin(async { Err(HandlerError::from(error)) });
                let decision = by(&gate, job(&name), begins, work).await;
                assert_eq!(decision.outcome, outcome, "{name}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_whose_payload_panics_when_it_is_dropped_is_a_failed_attempt() {
    let (engine, _) = engine();
    let gate = gate(&engine, Settings::new());
    let count = Arc::new(AtomicUsize::new(0));
    for begins in [true, false] {
        let bomb = PanickingCapture(count.clone());
        let work = Box::pin(async move { std::panic::panic_any(bomb) });
        let decision = by(&gate, job(&begins.to_string()), begins, work).await;
        assert_eq!((decision.outcome, decision.attempt), (Outcome::Panicked, 1));
    }
}

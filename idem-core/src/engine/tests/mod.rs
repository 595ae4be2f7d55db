//! The engine's guarantees, each under a name. Time is paused where nothing needs a real clock.

mod begun;
mod doubts;
mod extremes;
mod faulty;
mod guarantees;
mod held;
mod leases;
mod panics;
mod permits;
mod presence;
mod settlement;
mod unpolled;
mod verdicts;

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;

use self::faulty::FaultyStore;
use super::{Admission, Engine, Entry, Gate, Job, Settled};
use crate::handler_error::HandlerResult;
use crate::store::MemoryStore;
use crate::{
    Attempt, Backoff, Clock, Decision, Fingerprint, IdempotencyKey, Lease, Namespace, Outcome, RecordKey,
    Settings, Verdict,
};

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// An engine on paused time over a store that can be made to fail.
fn engine() -> (Engine, Arc<FaultyStore>) {
    let store = Arc::new(FaultyStore::new());
    (engine_over(&store), store)
}

fn engine_over(store: &Arc<FaultyStore>) -> Engine {
    Engine::with(store.clone(), Clock::tokio(), Handle::current())
}

#[expect(clippy::needless_pass_by_value, reason = "reads better where settings are written in place")]
fn gate(engine: &Engine, settings: Settings) -> Gate {
    engine.gate("test", settings.resolve().unwrap())
}

fn key(name: &str) -> RecordKey {
    RecordKey::new(Namespace::new(["test"]), IdempotencyKey::new(name).unwrap())
}

fn job(name: &str) -> Job {
    Job::new(key(name))
}

fn job_with_payload(name: &str, payload: &str) -> Job {
    Job { fingerprint: Some(Fingerprint::of(payload.as_bytes())), ..job(name) }
}

/// One message's whole way. It must be decided within two hours, most of them of paused time.
async fn handle<F>(gate: &Gate, job: Job, work: impl FnOnce(Lease, Attempt) -> F) -> Settled
where
    F: Future<Output = HandlerResult>,
{
    let handling = handle_now(gate, job, work);
    tokio::time::timeout(secs(7_200), handling).await.expect("a message is decided within two hours")
}

/// One message's whole way, as a listener drives it.
async fn handle_now<F>(gate: &Gate, job: Job, work: impl FnOnce(Lease, Attempt) -> F) -> Settled
where
    F: Future<Output = HandlerResult>,
{
    let mut admission = match gate.enter(job) {
        Entry::Decided(settled) => return settled,
        Entry::Follower(follower) => follower.admit().await,
        Entry::Leader(leader) => {
            let mut leaders = VecDeque::from([leader]);
            gate.claim(&mut leaders).await.remove(0)
        }
    };
    loop {
        admission = match admission {
            Admission::Later(later) => later.await,
            Admission::Decided(settled) => return settled,
            Admission::Run(claimed) => return gate.settle_one(claimed.run(work).await).await,
        }
    }
}

async fn succeed(gate: &Gate, job: Job) -> Decision {
    handle(gate, job, |_, _| async { Ok(()) }).await.decision
}

async fn fail(gate: &Gate, job: Job) -> Settled {
    handle(gate, job, |_, _| async { Err("no".into()) }).await
}

/// Counts runs.
#[derive(Clone, Default)]
struct Runs(Arc<AtomicUsize>);

impl Runs {
    fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }

    fn one(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    /// A handler's work: it counts and succeeds.
    #[expect(clippy::unnecessary_wraps, reason = "it is what a handler returns")]
    fn succeed(&self) -> HandlerResult {
        self.one();
        Ok(())
    }
}

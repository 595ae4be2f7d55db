//! The dedup engine: claim → run → settle.
//!
//! A [`Gate`] is one handler's way through the engine. A message's [`Job`] [enters](Gate::enter) it, where equal
//! keys of this process meet and known duplicates are decided; the first of a key is [claimed](Gate::claim) when
//! its handler can start at once, [run](ClaimedRun::run) under a lease that idem renews, and [settled](Gate::settle).
//! Each step is a file.

mod claim;
mod enter;
mod flights;
mod fullness;
mod judge;
mod lane;
mod presence;
mod run;
mod settle;
mod ticket;
mod together;
mod transaction;
mod turn;
mod unfit;
pub mod verdict;
mod watch;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::flights::Flights;
use self::fullness::Fullness;
use self::lane::{Claims, Completions, Lane, Releases, Renewals};
use self::ticket::TransactionSetup;
use self::unfit::Tolerance;
use self::verdict::Arrival;
use self::watch::Watch;
use crate::clock::Clock;
use crate::doubt::{MemberId, MessageId};
use crate::key::{Fingerprint, RecordKey};
use crate::panics::{self, Fault};
use crate::policy::Policy;
use crate::record::Record;
use crate::store::guarded::{self, GuardedTransactions};
use crate::store::{Claim, Store, StoreError};

pub use self::claim::Permits;
pub use self::enter::{Entry, Follower};
pub use self::run::{Checked, RunProgress};
pub use self::ticket::{
    Admission, ClaimedRun, Commit, Finished, HeldKey, Leader, LentTransaction, OpenTransaction, Settled,
};
pub use self::unfit::UnfitAdmission;
pub use self::verdict::Unfit;

/// Routes messages through a store so that each key's work is done once.
///
/// Cloning shares the engine. Dropping the last clone ends its background work.
#[derive(Clone)]
pub struct Engine(Arc<EngineInner>);

pub(crate) struct EngineInner {
    /// This engine, in the records that it claims.
    pub(crate) member: MemberId,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Clock,
    pub(crate) runtime: Handle,
    pub(crate) claims: Lane<Claims>,
    pub(crate) completions: Lane<Completions>,
    pub(crate) releases: Lane<Releases>,
    pub(crate) renewals: Lane<Renewals>,
    pub(crate) flights: Flights,
    pub(crate) fullness: Fullness,
    pub(crate) watch: Arc<Watch>,
    /// No key is claimed any more.
    pub(crate) closing: CancellationToken,
    /// Runs are cancelled.
    pub(crate) stop: CancellationToken,
    pub(crate) fault: Arc<Fault>,
}

impl Engine {
    /// An engine over `store`, on idem's own runtime and the clock that goes on while the machine sleeps.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self::with(store, Clock::boot(), crate::runtime::handle().clone())
    }

    /// An engine on another clock and runtime, for tests that pause the time.
    pub fn with(store: Arc<dyn Store>, clock: Clock, runtime: Handle) -> Self {
        let (closing, stop) = (CancellationToken::new(), CancellationToken::new());
        let fault = Arc::new(Fault::new(&closing, &stop));
        let renewals = Lane::<Renewals>::new(store.clone(), clock, runtime.clone(), fault.clone());
        Self(Arc::new(EngineInner {
            member: MemberId::random(),
            claims: Lane::new(store.clone(), clock, runtime.clone(), fault.clone()),
            completions: Lane::new(store.clone(), clock, runtime.clone(), fault.clone()),
            releases: Lane::new(store.clone(), clock, runtime.clone(), fault.clone()),
            renewals: renewals.clone(),
            flights: Flights::default(),
            fullness: Fullness::default(),
            watch: Watch::start(renewals, clock, &runtime, &fault),
            closing,
            stop,
            fault,
            store,
            clock,
            runtime,
        }))
    }

    /// A handler's gate. The name is for logs; the policy decides.
    pub fn gate(&self, name: impl Into<Arc<str>>, policy: Policy) -> Gate {
        self.gate_with(name.into(), policy, None)
    }

    /// The gate of a handler that works in a transaction beside its record; none where the store has no transactions.
    ///
    /// Transactions begin on the runtime `user`, on which the handler runs; where there is none, on the one that claims.
    pub fn transactional_gate(
        &self,
        name: impl Into<Arc<str>>,
        policy: Policy,
        commit: Commit,
        user: Option<Handle>,
    ) -> Option<Gate> {
        let transactions = Arc::new(GuardedTransactions(self.0.store.transactions()?));
        let transacts = TransactionSetup::new(transactions, commit, user);
        Some(self.gate_with(name.into(), policy, Some(transacts)))
    }

    fn gate_with(&self, name: Arc<str>, policy: Policy, transacts: Option<TransactionSetup>) -> Gate {
        Gate(Arc::new(GateInner {
            engine: self.0.clone(),
            permits: Arc::new(Semaphore::new(policy.concurrency.min(Semaphore::MAX_PERMITS))),
            tolerance: Tolerance::default(),
            running: AtomicUsize::new(0),
            next: AtomicUsize::new(1),
            turn: tokio::sync::Mutex::default(),
            name,
            policy,
            transacts,
        }))
    }

    /// Lets no further run begin: what waits for a permit, for the store or for another message of its key is
    /// decided [`Verdict::Leave`](crate::Verdict::Leave). Runs that have begun go on and are settled.
    pub fn close(&self) {
        self.0.closing.cancel();
    }

    /// Closes, and ends the runs too: handlers are cancelled, their keys released without counting an attempt.
    pub fn stop(&self) {
        self.0.closing.cancel();
        self.0.stop.cancel();
    }

    /// Waits for `pause`, or until the engine is stopped. Whether it was.
    pub async fn stopped_within(&self, pause: Duration) -> bool {
        tokio::time::timeout(pause, self.0.stop.cancelled()).await.is_ok()
    }

    /// Waits for `pause`, or until no further run may begin. Whether that is so.
    pub async fn closed_within(&self, pause: Duration) -> bool {
        tokio::time::timeout(pause, self.0.closing.cancelled()).await.is_ok()
    }

    /// Says in the store's registry, now and every half minute until the engine is stopped, that this process claims as that group.
    /// It is remembered for so long behind the last time: `life` is as long as its records may be there.
    ///
    /// That the registry does not answer is told, and keeps no message from being handled.
    pub fn enrol(&self, group: &str, life: Duration) {
        presence::start(&self.0, group, life);
    }

    /// The fault that stops the engine if something that it relies on has panicked.
    pub fn fault(&self) -> &Arc<Fault> {
        &self.0.fault
    }

    /// The store, for an operator's questions.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.0.store
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("store", &self.0.store.name()).finish_non_exhaustive()
    }
}

impl EngineInner {
    /// Starts what settles something, on idem's own runtime. A panic of it ends the engine.
    fn settling<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<Option<T>> {
        let fault = self.fault.clone();
        self.runtime.spawn(panics::loud("settlement", task, move || fault.fail("a settlement")))
    }

    /// The answer to a claim that the store knows without waiting.
    fn known(&self, key: &RecordKey) -> Option<Claim> {
        panics::catch(|| self.store.known(key)).unwrap_or_else(|_| {
            panics::report("store", "a store has panicked; what it was asked for counts as not answered");
            None
        })
    }

    async fn read(&self, key: &RecordKey) -> Result<Option<Record>, StoreError> {
        guarded::ask(self.store.name(), || self.store.read(key)).await
    }
}

impl Drop for EngineInner {
    fn drop(&mut self) {
        self.closing.cancel();
        self.stop.cancel();
        self.watch.end();
    }
}

/// One handler's way through the engine: its policy and permits. Cloning shares it.
#[derive(Clone)]
pub struct Gate(Arc<GateInner>);

pub(crate) struct GateInner {
    pub(crate) engine: Arc<EngineInner>,
    pub(crate) name: Arc<str>,
    pub(crate) policy: Policy,
    /// Where the handler works in a transaction.
    pub(crate) transacts: Option<TransactionSetup>,
    pub(crate) permits: Arc<Semaphore>,
    pub(crate) tolerance: Tolerance,
    /// How many runs are under way.
    pub(crate) running: AtomicUsize,
    /// How many runs are to start together next.
    pub(crate) next: AtomicUsize,
    /// Whose turn it is to wait for permits.
    pub(crate) turn: tokio::sync::Mutex<()>,
}

/// One message, as the engine sees it.
#[derive(Debug, Clone)]
pub struct Job {
    /// The message's key, in its namespace.
    pub key: RecordKey,
    /// The payload's digest, where the policy compares payloads.
    pub fingerprint: Option<Fingerprint>,
    /// The message's own id, for its record.
    pub message: Option<MessageId>,
    /// How often the broker has delivered the message before: what the backoff of conflicts grows with.
    pub redeliveries: u32,
    /// How many attempts of the message are known to have failed. The record says it too, but it may have expired meanwhile.
    pub failures: u32,
}

impl Job {
    /// The first delivery of a message whose payload is not compared.
    pub fn new(key: RecordKey) -> Self {
        Self { key, fingerprint: None, message: None, redeliveries: 0, failures: 0 }
    }

    /// The part that its verdict depends on.
    pub(crate) fn arrival(&self) -> Arrival {
        let Self { fingerprint, redeliveries, failures, .. } = *self;
        Arrival { fingerprint, redeliveries, failures }
    }
}

impl Gate {
    /// The handler's name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The handler's policy.
    pub fn policy(&self) -> &Policy {
        &self.0.policy
    }

    /// Whether so many runs are under way that the next ones must wait. A claim that the store does not answer is no
    /// run.
    pub fn is_busy(&self) -> bool {
        let next = self.0.next.load(Ordering::Acquire);
        self.0.running.load(Ordering::Acquire) + next > self.0.policy.concurrency
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("name", &self.0.name).finish_non_exhaustive()
    }
}

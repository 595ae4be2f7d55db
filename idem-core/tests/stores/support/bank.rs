//! A bank: a database with payments, and handlers that pay in transactions.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use idem_core::engine::{Admission, Commit, Engine, Entry, Gate, Job, Settled};
use idem_core::store::Store;
use idem_core::{Decision, HandlerResult, IdempotencyKey, Namespace, RecordKey, Settings};
use tokio::time::timeout;

/// A database with a table of the business beside idem's: `payments (id, amount)`.
pub(crate) trait Bank: Send + Sync + Sized + 'static {
    type Connection: Send + 'static;
    /// Whether a handler that commits by itself commits what it did, or is refused.
    const LETS_COMMIT: bool = true;

    fn open() -> impl Future<Output = Self> + Send;
    /// A store in that database, as another process would have it; a claim waits for another one no longer than `wait`.
    fn store(&self, wait: Duration) -> impl Future<Output = Arc<dyn Store>> + Send;
    fn execute(on: &mut Self::Connection, sql: &str) -> impl Future<Output = sqlx::Result<u64>> + Send;
    /// How many payments there are.
    fn paid(&self) -> impl Future<Output = i64> + Send;

    /// A handler's work.
    fn pay(on: &mut Self::Connection, id: &str) -> impl Future<Output = sqlx::Result<u64>> + Send {
        let sql = format!("INSERT INTO payments (id, amount) VALUES ('{id}', 1)");
        async move { Self::execute(on, &sql).await }
    }
}

pub(crate) const SECOND: Duration = Duration::from_secs(1);

pub(crate) fn job(name: &str) -> Job {
    let key = RecordKey::new(Namespace::new(["bank"]), IdempotencyKey::new(name).unwrap());
    Job::new(key)
}

/// The gate of a transactional handler in a process of its own.
pub(crate) async fn gate<B: Bank>(bank: &B, settings: Settings) -> Gate {
    gate_that_waits(bank, settings, 20 * SECOND).await
}

pub(crate) async fn gate_that_waits<B: Bank>(bank: &B, settings: Settings, wait: Duration) -> Gate {
    gate_that_commits(bank, settings, wait, Commit::Each).await
}

pub(crate) async fn gate_that_commits<B: Bank>(
    bank: &B,
    settings: Settings,
    wait: Duration,
    commit: Commit,
) -> Gate {
    let engine = Engine::new(bank.store(wait).await);
    let gate = engine.transactional_gate("pay", settings.resolve().unwrap(), commit, None);
    gate.expect("a store with transactions")
}

/// One message's whole way; a dead letter counts as stored.
pub(crate) async fn handle<B: Bank>(
    gate: &Gate,
    job: Job,
    work: impl AsyncFnOnce(&mut B::Connection) -> HandlerResult,
) -> Decision {
    let handling = async {
        let Entry::Leader(leader) = gate.enter(job) else {
            panic!("no other message of this key is under way")
        };
        let mut admission = gate.claim(&mut VecDeque::from([leader])).await.remove(0);
        let Settled { decision, held } = loop {
            admission = match admission {
                Admission::Later(later) => later.await,
                Admission::Decided(settled) => break settled,
                Admission::Run(claimed) => {
                    let open = claimed.transaction().expect("an open transaction");
                    let run = claimed.run(|_, _| async move {
                        let mut lent = open.lend().expect("nobody else has it");
                        work(lent.connection().downcast_mut().expect("the database's connection")).await
                    });
                    break gate.settle_one(run.await).await;
                }
            };
        };
        if let Some(held) = held {
            held.release(&decision).await;
        }
        decision
    };
    timeout(60 * SECOND, handling).await.expect("a message is decided within a minute")
}

//! A run that shares its transaction with others.

use std::future::Future;
use std::mem;
use std::sync::Arc;

use futures_util::future::{BoxFuture, Shared};
use tokio::sync::mpsc;

use super::finished::kept_nothing;
use super::open::record_is_gone;
use super::{Commit, OpenTransaction, RunResult};
use crate::store::{Answer, CompleteRequest, SavepointEnd, StoreError, Transaction};

/// A run's share in a transaction. Where it is dropped before its run is over, nothing is committed.
pub(in crate::engine) struct Member {
    pub(in crate::engine) commit: Commit,
    pub(in crate::engine) open: OpenTransaction,
    pub(in crate::engine) over: mpsc::UnboundedSender<MemberResult>,
    pub(in crate::engine) end: Shared<BoxFuture<'static, SharedEnd>>,
    /// Whose turn it is to work in the transaction, and whether it is of no use any more.
    pub(in crate::engine) is_broken: Arc<tokio::sync::Mutex<bool>>,
}

/// A run that is over.
pub(in crate::engine) enum MemberResult {
    /// With the record that is yet to be completed.
    Good(Option<CompleteRequest>),
    Failed,
}

/// The end of a shared transaction.
#[derive(Clone)]
pub(in crate::engine) enum SharedEnd {
    Committed,
    /// The connection was lost on the way: nobody knows.
    Lost(StoreError),
    Undone {
        /// Whether some of its runs did not fail.
        some_were_good: bool,
    },
}

impl Member {
    /// The result of the run; `None` if it has had no part in the transaction that could be kept.
    pub(in crate::engine) async fn run(
        &self,
        run: impl Future<Output = RunResult>,
        record: Option<CompleteRequest>,
    ) -> Option<RunResult> {
        match self.commit {
            Commit::Each | Commit::Together => Some(run.await),
            Commit::Savepoints => self.run_in_savepoint(run, &record?).await,
        }
    }

    /// Whether the run's effect was rolled back to its savepoint.
    pub(in crate::engine) fn is_undone_alone(&self, result: Option<&RunResult>) -> bool {
        self.commit == Commit::Savepoints && result.is_some_and(|ran| !ran.is_ok())
    }

    /// One after the other. Where a run is dropped, or its savepoint is gone, nobody knows what the transaction holds.
    async fn run_in_savepoint(
        &self,
        run: impl Future<Output = RunResult>,
        record: &CompleteRequest,
    ) -> Option<RunResult> {
        let mut is_broken = self.is_broken.lock().await;
        if mem::replace(&mut *is_broken, true) {
            return None;
        }
        self.open.lend()?.transaction().savepoint().await.ok()?;
        let ran = run.await;
        let ran = end_savepoint(self.open.lend()?.transaction(), ran, record).await.ok()?;
        *is_broken = ran.is_shutdown();
        Some(ran)
    }
}

/// Completes the record beside its effect, and not at the transaction's end: where a later handler commits by itself, what it
/// commits of others are effects with their records (`one_that_commits_by_itself_repeats_nothing_of_the_others`).
async fn end_savepoint(
    transaction: &mut dyn Transaction,
    ran: RunResult,
    record: &CompleteRequest,
) -> Result<RunResult, StoreError> {
    if !ran.is_ok() {
        transaction.end_savepoint(SavepointEnd::Rollback).await?;
        return Ok(ran);
    }
    let error = match transaction.complete(record).await {
        Ok(Answer::Done) => {
            transaction.end_savepoint(SavepointEnd::Release).await?;
            return Ok(ran);
        }
        Ok(Answer::Lost) => record_is_gone(),
        Err(error) if error.is_unavailable() || error.is_conflict() => return Err(error),
        Err(error) => error,
    };
    // A handler that has swallowed a failure takes no neighbour with it.
    transaction.end_savepoint(SavepointEnd::Rollback).await?;
    Ok(kept_nothing(&error))
}

/// Waits until all runs are over, and ends their transaction.
pub(in crate::engine) async fn end(
    open: OpenTransaction,
    mut runs: mpsc::UnboundedReceiver<MemberResult>,
    members: usize,
    commit: Commit,
) -> SharedEnd {
    let (mut good, mut failed, mut records) = (0, 0, Vec::with_capacity(members));
    while let Some(over) = runs.recv().await {
        match over {
            MemberResult::Good(record) => {
                good += 1;
                records.extend(record);
            }
            MemberResult::Failed => failed += 1,
        }
    }
    let undone = SharedEnd::Undone { some_were_good: good > 0 };
    let Some(open) = open.take() else { return undone };
    let are_all = good + failed == members;
    if !are_all || good == 0 || failed > 0 && commit != Commit::Savepoints {
        open.rollback().await;
        return undone;
    }
    match open.commit(&records).await {
        Ok(()) => SharedEnd::Committed,
        Err(error) if error.is_unavailable() => SharedEnd::Lost(error),
        Err(_) => undone,
    }
}

//! The way of a run whose effect and record commit together.
//!
//! The key is claimed inside of the handler's transaction, so that the record is in progress before the handler begins and
//! nobody else sees it; it is completed as the last statement, and then both commit. What a failed run leaves behind, its
//! attempt, is counted outside, after the rollback.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::OwnedSemaphorePermit;

use super::Gate;
use super::claim::{Admission, Judged, Patience};
use super::enter::Leader;
use super::run::Ran;
use crate::handler_error::Disposition;
use crate::outcome::{Decision, Outcome, Verdict};
use crate::store::{Answer, Claim, StoreError, Transaction, Transactions};

/// The transaction that a run has open. Cloning shares it.
#[derive(Clone)]
pub struct OpenTransaction(Arc<Mutex<Option<Box<dyn Transaction>>>>);

/// A transaction in the hands of a handler. Dropping it gives it back to its run.
pub struct LentTransaction {
    transaction: Option<Box<dyn Transaction>>,
    home: OpenTransaction,
}

impl OpenTransaction {
    fn new(transaction: Box<dyn Transaction>) -> Self {
        Self(Arc::new(Mutex::new(Some(transaction))))
    }

    /// Lends it to the handler; none where it is lent already, or where the run is over.
    pub fn lend(&self) -> Option<LentTransaction> {
        let transaction = self.take()?;
        Some(LentTransaction { transaction: Some(transaction), home: self.clone() })
    }

    fn take(&self) -> Option<Box<dyn Transaction>> {
        self.0.lock().take()
    }
}

impl LentTransaction {
    /// What the handler works on: a value of the store's [connection type](Transactions::connection).
    #[expect(clippy::missing_panics_doc, reason = "it is there until the value is dropped")]
    pub fn connection(&mut self) -> &mut (dyn Any + Send) {
        self.transaction.as_mut().expect("it is there until the value is dropped").connection()
    }
}

impl Drop for LentTransaction {
    fn drop(&mut self) {
        *self.home.0.lock() = self.transaction.take();
    }
}

impl fmt::Debug for OpenTransaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OpenTransaction")
    }
}

impl fmt::Debug for LentTransaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LentTransaction")
    }
}

impl Gate {
    /// Opens a transaction and claims the key in it, again and again until there is something to admit.
    pub(super) fn open(self, leader: Leader, permit: OwnedSemaphorePermit) -> BoxFuture<'static, Admission> {
        async move {
            let mut patience = Patience::default();
            let mut again = (leader, Some(permit), Duration::ZERO);
            loop {
                let (leader, permit, after) = again;
                let Some((leader, permit)) = self.turn(leader, permit, after).await else {
                    return Admission::Decided(super::Settled::leave());
                };
                match self.open_once(leader, permit, &mut patience).await {
                    Judged::Admitted(admission) => return admission,
                    Judged::Again { leader, permit, after } => again = (leader, permit, after),
                }
            }
        }
        .boxed()
    }

    async fn open_once(
        &self,
        mut leader: Leader,
        permit: OwnedSemaphorePermit,
        patience: &mut Patience,
    ) -> Judged {
        let sent = self.0.engine.clock.now();
        let claimed = match self.transactions() {
            Some(transactions) => claim(&*transactions, &mut leader).await,
            None => Err(StoreError::config("the store has no transactions")),
        };
        match claimed {
            Ok((Some(transaction), Claim::Claimed { fence, attempt }))
                if attempt <= self.0.policy.max_attempts =>
            {
                // Nobody else sees the claim before it is completed, so that no lease runs.
                leader.flight.claimed(fence, Duration::MAX);
                let transaction = Some(OpenTransaction::new(transaction));
                Judged::Admitted(self.claimed(leader, permit, attempt, transaction))
            }
            Ok((Some(transaction), Claim::Claimed { .. })) => {
                // Its dead letter holds the key under a lease.
                transaction.rollback().await;
                let request = leader.claim_request();
                let (sent, answer) = self.0.engine.claims.call_one(request).await;
                self.judge(leader, permit, sent, answer, patience)
            }
            Ok((transaction, claim)) => {
                if let Some(transaction) = transaction {
                    transaction.rollback().await;
                }
                self.judge(leader, permit, sent, Ok(claim), patience)
            }
            Err(error) => self.judge(leader, permit, sent, Err(error), patience),
        }
    }

    fn transactions(&self) -> Option<Arc<dyn Transactions>> {
        self.0.transactions.clone()
    }

    /// Whether a handler's error says that the database ended its transaction for others' sake.
    pub(super) fn is_conflict(&self, error: &crate::HandlerError) -> bool {
        self.0
            .transactions
            .as_ref()
            .is_some_and(|transactions| error.chain().any(|error| transactions.is_conflict(error)))
    }

    /// Ends the transaction as the run came out.
    ///
    /// Invariant 6: the effect and the completed record commit together or not at all
    /// (`invariant_6_effect_and_record_commit_together_or_not_at_all`).
    pub(super) async fn end(&self, leader: &mut Leader, open: &OpenTransaction, ran: Ran) -> Ran {
        let Some(transaction) = open.take() else {
            return self.undone(leader, &StoreError::statement("the handler's transaction is gone"));
        };
        if !matches!(ran, Ran::Ok) {
            transaction.rollback().await;
            return self.counted(leader, ran).await;
        }
        match self.commit(leader, transaction).await {
            Ok(()) => Ran::Decided(Decision::new(Verdict::Ack, Outcome::Completed)),
            // The connection is gone, or somebody else was preferred: no fault of the handler's.
            Err(error) if error.is_unavailable() || error.is_conflict() => self.undone(leader, &error),
            Err(error) => {
                let text = format!("nothing of the handler's transaction was kept: {error}").into();
                self.counted(leader, Ran::Err { disposition: Disposition::Retry(None), text }).await
            }
        }
    }

    async fn commit(&self, leader: &Leader, mut transaction: Box<dyn Transaction>) -> Result<(), StoreError> {
        let Some(request) = self.complete_request(leader) else {
            return Err(StoreError::statement("the message has no key"));
        };
        match transaction.complete(&request).await {
            Ok(Answer::Done) => transaction.commit().await,
            Ok(Answer::Lost) => {
                transaction.rollback().await;
                Err(StoreError::statement(
                    "the record that was claimed in it is not there any more: a handler neither commits nor rolls back, \
                     and passes on the errors of its statements",
                ))
            }
            Err(error) => {
                transaction.rollback().await;
                Err(error)
            }
        }
    }

    fn undone(&self, leader: &Leader, error: &StoreError) -> Ran {
        let delay = self.conflict_delay(Duration::ZERO, leader.redeliveries);
        let decision = Decision::new(Verdict::Retry(delay), Outcome::TransactionFailed);
        Ran::Decided(decision.because(error.to_string()))
    }

    /// Takes the lease after a rollback, where a failed attempt is to be counted or a dead letter is to hold the key.
    async fn counted(&self, leader: &mut Leader, ran: Ran) -> Ran {
        if matches!(ran, Ran::Shutdown | Ran::Decided(_)) {
            return ran;
        }
        let (sent, answer) = self.0.engine.claims.call_one(leader.claim_request()).await;
        match answer {
            Ok(Claim::Claimed { fence, .. }) => {
                leader.flight.claimed(fence, self.local_deadline(sent));
                ran
            }
            // Another process has taken the key in between, and its run counts.
            Ok(Claim::Completed { .. }) => {
                leader.is_claimed = false;
                Ran::Decided(Decision::new(Verdict::Ack, Outcome::Duplicate))
            }
            Ok(Claim::InProgress { remaining, .. }) => {
                leader.is_claimed = false;
                Ran::Decided(self.conflict(remaining, leader.redeliveries))
            }
            Err(error) => self.undone(leader, &error),
        }
    }
}

/// The answer, and the transaction where one was opened for it.
async fn claim(
    transactions: &dyn Transactions,
    leader: &mut Leader,
) -> Result<(Option<Box<dyn Transaction>>, Claim), StoreError> {
    let request = leader.claim_request();
    // What is claimed in a transaction is given back by its rollback.
    leader.is_claimed = false;
    if let Some(known) = transactions.known(&request).await {
        return Ok((None, known));
    }
    let mut transaction = transactions.begin().await?;
    let claim = transaction.claim(&request).await?;
    Ok((Some(transaction), claim))
}

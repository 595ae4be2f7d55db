//! Transactions that runs have open.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::store::{Answer, CompleteRequest, StoreError, Transaction, Transactions};

/// How messages that are claimed together commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Commit {
    /// Each in a transaction of its own.
    Each,
    /// All in one, in which one call of the handler works.
    Together,
    /// All in one, each in a savepoint of its own: one that fails is undone alone.
    Savepoints,
}

/// How a gate's handler gets its transactions.
pub(crate) struct TransactionSetup {
    pub(in crate::engine) source: Arc<dyn Transactions>,
    pub(in crate::engine) commit: Commit,
    /// As many as can be open: a transaction may be shared, so that the handler's permits do not bound them.
    pub(in crate::engine) slots: Arc<Semaphore>,
    /// Where the handler runs, and so its connections; none for where it is claimed.
    pub(in crate::engine) user: Option<Handle>,
}

impl TransactionSetup {
    pub(in crate::engine) fn new(
        source: Arc<dyn Transactions>,
        commit: Commit,
        user: Option<Handle>,
    ) -> Self {
        let slots = Arc::new(Semaphore::new(source.max_open().clamp(1, Semaphore::MAX_PERMITS)));
        Self { source, commit, slots, user }
    }
}

/// A transaction, and its share of those that can be open.
pub(in crate::engine) struct SlottedTransaction {
    pub(in crate::engine) transaction: Box<dyn Transaction>,
    pub(in crate::engine) _slot: OwnedSemaphorePermit,
}

impl SlottedTransaction {
    pub(in crate::engine) async fn rollback(self) {
        self.transaction.rollback().await;
    }

    /// Completes the records that are not completed, of which none may be missing, and commits.
    pub(in crate::engine) async fn commit(mut self, records: &[CompleteRequest]) -> Result<(), StoreError> {
        let completed = match records {
            [] => Ok(Answer::Done),
            _ => self.transaction.complete_all(records).await,
        };
        let error = match completed {
            Ok(Answer::Done) => return self.transaction.commit().await,
            Ok(Answer::Lost) => record_is_gone(),
            Err(error) => error,
        };
        self.transaction.rollback().await;
        Err(error)
    }
}

/// The transaction that a run has open. Cloning shares it.
#[derive(Clone)]
pub struct OpenTransaction(Arc<Mutex<Option<SlottedTransaction>>>);

/// A transaction in the hands of a handler. Dropping it gives it back to its run.
pub struct LentTransaction {
    open: Option<SlottedTransaction>,
    home: OpenTransaction,
}

impl OpenTransaction {
    pub(in crate::engine) fn new(open: SlottedTransaction) -> Self {
        Self(Arc::new(Mutex::new(Some(open))))
    }

    /// Lends it to the handler; none where it is lent already, or where the run is over.
    pub fn lend(&self) -> Option<LentTransaction> {
        let open = self.take()?;
        Some(LentTransaction { open: Some(open), home: self.clone() })
    }

    pub(in crate::engine) fn take(&self) -> Option<SlottedTransaction> {
        self.0.lock().take()
    }
}

impl LentTransaction {
    /// The connection that the handler works on: a value of the store's [connection type](Transactions::connection).
    pub fn connection(&mut self) -> &mut (dyn Any + Send) {
        self.transaction().connection()
    }

    pub(in crate::engine) fn transaction(&mut self) -> &mut dyn Transaction {
        &mut *self.open.as_mut().expect("it is there until the value is dropped").transaction
    }
}

impl Drop for LentTransaction {
    fn drop(&mut self) {
        *self.home.0.lock() = self.open.take();
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

pub(in crate::engine) fn record_is_gone() -> StoreError {
    StoreError::statement(
        "the record that was claimed in it is not there any more: a handler neither commits nor rolls back, \
         and passes on the errors of its statements",
    )
}

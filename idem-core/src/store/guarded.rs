//! Transactions of whatever store, whose panics are errors.

use std::any::Any;
use std::error::Error as StdError;
use std::future::Future;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::{
    Answer, Answers, Claim, ClaimRequest, CompleteRequest, ConnectionType, SavepointEnd, StoreError,
    Transaction, Transactions,
};
use crate::panics::{self, CarefulDrop};

/// Calls a store.
///
/// # Errors
/// As the store's; [`StoreError::statement`] where it has panicked, so that a batch is tried in halves.
pub(crate) async fn ask<T, F>(name: &'static str, make: impl FnOnce() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>> + Unpin,
{
    panics::call(make).await.unwrap_or_else(|_| Err(panicked(name)))
}

/// Says that a store has panicked.
fn panicked(name: &'static str) -> StoreError {
    panics::report("store", "a store has panicked; what it was asked for counts as not answered");
    StoreError::statement(format!(
        "the store `{name}` panicked: look for its message on the standard error, and mend the store"
    ))
}

const NAME: &str = "of transactions";

/// Whether a transaction was committed is not known where its commit panics.
fn lost() -> StoreError {
    let error = panicked(NAME);
    StoreError::unavailable(error.to_string())
}

pub(crate) struct GuardedTransactions(pub(crate) Arc<dyn Transactions>);

impl Transactions for GuardedTransactions {
    fn connection(&self) -> ConnectionType {
        self.0.connection()
    }

    fn max_open(&self) -> usize {
        self.0.max_open()
    }

    fn known<'a>(&'a self, request: &'a ClaimRequest) -> BoxFuture<'a, Option<Claim>> {
        Box::pin(async move {
            panics::call(|| self.0.known(request)).await.unwrap_or_else(|_| {
                panicked(NAME);
                None
            })
        })
    }

    fn known_all<'a>(&'a self, requests: &'a [ClaimRequest]) -> BoxFuture<'a, Vec<Option<Claim>>> {
        Box::pin(async move {
            panics::call(|| self.0.known_all(requests)).await.unwrap_or_else(|_| {
                panicked(NAME);
                vec![None; requests.len()]
            })
        })
    }

    fn begin(&self) -> BoxFuture<'_, Result<Box<dyn Transaction>, StoreError>> {
        Box::pin(async move {
            let begun = panics::call(|| self.0.begin()).await.unwrap_or_else(|_| Err(lost()))?;
            Ok(Box::new(GuardedTransaction(CarefulDrop::new(begun))) as Box<dyn Transaction>)
        })
    }

    fn is_conflict(&self, error: &(dyn StdError + 'static)) -> bool {
        self.0.is_conflict(error)
    }
}

/// Its `Drop`, which rolls back, may panic as well.
struct GuardedTransaction(CarefulDrop<Box<dyn Transaction>>);

impl Transaction for GuardedTransaction {
    /// A panic here is one of the handler that asks.
    fn connection(&mut self) -> &mut (dyn Any + Send) {
        self.0.connection()
    }

    fn claim<'a>(&'a mut self, request: &'a ClaimRequest) -> BoxFuture<'a, Result<Claim, StoreError>> {
        Box::pin(ask(NAME, || self.0.claim(request)))
    }

    fn claim_all<'a>(&'a mut self, requests: &'a [ClaimRequest]) -> BoxFuture<'a, Answers<Claim>> {
        Box::pin(ask(NAME, || self.0.claim_all(requests)))
    }

    fn complete<'a>(&'a mut self, request: &'a CompleteRequest) -> BoxFuture<'a, Result<Answer, StoreError>> {
        Box::pin(ask(NAME, || self.0.complete(request)))
    }

    fn complete_all<'a>(
        &'a mut self,
        requests: &'a [CompleteRequest],
    ) -> BoxFuture<'a, Result<Answer, StoreError>> {
        Box::pin(ask(NAME, || self.0.complete_all(requests)))
    }

    fn savepoint(&mut self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(ask(NAME, || self.0.savepoint()))
    }

    fn end_savepoint(&mut self, end: SavepointEnd) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(ask(NAME, move || self.0.end_savepoint(end)))
    }

    fn commit(self: Box<Self>) -> BoxFuture<'static, Result<(), StoreError>> {
        let transaction = self.0.into_inner();
        Box::pin(async move { panics::call(|| transaction.commit()).await.unwrap_or_else(|_| Err(lost())) })
    }

    fn rollback(self: Box<Self>) -> BoxFuture<'static, ()> {
        let transaction = self.0.into_inner();
        Box::pin(async move {
            if panics::call(|| transaction.rollback()).await.is_err() {
                panicked(NAME);
            }
        })
    }
}

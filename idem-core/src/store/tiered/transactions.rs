//! The database's transactions, with the cache told of what was committed.

use std::any::Any;
use std::error::Error as StdError;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::{Incarnation, Tiers};
use crate::store::{
    Answer, Answers, Claim, ClaimRequest, CompleteRequest, ConnectionType, SavepointEnd, StoreError,
    Transaction, Transactions,
};

pub(super) struct TieredTransactions {
    pub(super) tiers: Arc<Tiers>,
    pub(super) database: Arc<dyn Transactions>,
}

struct TieredTransaction {
    tiers: Arc<Tiers>,
    transaction: Box<dyn Transaction>,
    /// The completions of the commit, and the incarnation that was known before.
    completes: Option<(Vec<CompleteRequest>, Option<Incarnation>, Instant)>,
}

impl Transactions for TieredTransactions {
    fn connection(&self) -> ConnectionType {
        self.database.connection()
    }

    fn max_open(&self) -> usize {
        self.database.max_open()
    }

    fn known<'a>(&'a self, request: &'a ClaimRequest) -> BoxFuture<'a, Option<Claim>> {
        Box::pin(async move { self.tiers.known(std::slice::from_ref(request)).await.pop().flatten() })
    }

    fn known_all<'a>(&'a self, requests: &'a [ClaimRequest]) -> BoxFuture<'a, Vec<Option<Claim>>> {
        Box::pin(self.tiers.known(requests))
    }

    fn begin(&self) -> BoxFuture<'_, Result<Box<dyn Transaction>, StoreError>> {
        Box::pin(async move {
            let transaction = self.tiers.heard(self.database.begin().await)?;
            let tiered = TieredTransaction { tiers: self.tiers.clone(), transaction, completes: None };
            Ok(Box::new(tiered) as Box<dyn Transaction>)
        })
    }

    fn is_conflict(&self, error: &(dyn StdError + 'static)) -> bool {
        self.database.is_conflict(error)
    }
}

impl Transaction for TieredTransaction {
    fn connection(&mut self) -> &mut (dyn Any + Send) {
        self.transaction.connection()
    }

    fn claim<'a>(&'a mut self, request: &'a ClaimRequest) -> BoxFuture<'a, Result<Claim, StoreError>> {
        Box::pin(async move { self.tiers.heard(self.transaction.claim(request).await) })
    }

    fn claim_all<'a>(&'a mut self, requests: &'a [ClaimRequest]) -> BoxFuture<'a, Answers<Claim>> {
        Box::pin(async move { self.tiers.heard(self.transaction.claim_all(requests).await) })
    }

    fn complete<'a>(&'a mut self, request: &'a CompleteRequest) -> BoxFuture<'a, Result<Answer, StoreError>> {
        self.complete_all(std::slice::from_ref(request))
    }

    fn complete_all<'a>(
        &'a mut self,
        requests: &'a [CompleteRequest],
    ) -> BoxFuture<'a, Result<Answer, StoreError>> {
        let (incarnation, asked) = (self.tiers.incarnation(), Instant::now());
        Box::pin(async move {
            let answer = self.tiers.heard(self.transaction.complete_all(requests).await)?;
            if answer == Answer::Done {
                // The incarnation that was known at the first completion counts for all: it is the least.
                let (completed, ..) = self.completes.get_or_insert_with(|| (Vec::new(), incarnation, asked));
                completed.extend_from_slice(requests);
            }
            Ok(answer)
        })
    }

    fn savepoint(&mut self) -> BoxFuture<'_, Result<(), StoreError>> {
        self.transaction.savepoint()
    }

    fn end_savepoint(&mut self, end: SavepointEnd) -> BoxFuture<'_, Result<(), StoreError>> {
        self.transaction.end_savepoint(end)
    }

    fn commit(self: Box<Self>) -> BoxFuture<'static, Result<(), StoreError>> {
        let Self { tiers, transaction, completes } = *self;
        Box::pin(async move {
            tiers.heard(transaction.commit().await)?;
            if let Some((requests, Some(incarnation), asked)) = completes {
                tiers.cache.write(incarnation, requests, asked);
            }
            Ok(())
        })
    }

    fn rollback(self: Box<Self>) -> BoxFuture<'static, ()> {
        self.transaction.rollback()
    }
}

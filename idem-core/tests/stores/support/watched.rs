//! A store that counts its calls and can be out of reach.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures_util::future::BoxFuture;
use idem_core::store::{
    Answer, Answers, Claim, ClaimRequest, CompleteRequest, Incarnation, ReleaseRequest, RenewRequest, Store,
    Transactions,
};
use idem_core::{Record, RecordKey, StoreError, Token};

use crate::support::records::{claim, until};

/// A database whose claims are counted, and that can be out of reach.
#[derive(Clone)]
pub(crate) struct Watched {
    store: Arc<dyn Store>,
    claims: Arc<AtomicUsize>,
    asked: Arc<AtomicUsize>,
    is_away: Arc<AtomicBool>,
}

impl Watched {
    pub(crate) fn new(store: impl Store) -> Self {
        Self {
            store: Arc::new(store),
            claims: Arc::default(),
            asked: Arc::default(),
            is_away: Arc::default(),
        }
    }

    pub(crate) fn claims(&self) -> usize {
        self.claims.load(Ordering::SeqCst)
    }

    /// How often it has told its incarnation.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    pub(crate) fn go_away(&self) {
        self.is_away.store(true, Ordering::SeqCst);
    }

    pub(crate) fn come_back(&self) {
        self.is_away.store(false, Ordering::SeqCst);
    }

    fn check(&self) -> Result<(), StoreError> {
        if self.is_away.load(Ordering::SeqCst) { Err(StoreError::unavailable("away")) } else { Ok(()) }
    }
}

impl Store for Watched {
    fn name(&self) -> &'static str {
        "watched"
    }

    fn transactions(&self) -> Option<Arc<dyn Transactions>> {
        self.store.transactions()
    }

    fn interruptions(&self) -> u64 {
        self.store.interruptions()
    }

    fn incarnation(&self) -> BoxFuture<'_, Result<Incarnation, StoreError>> {
        Box::pin(async {
            self.check()?;
            let incarnation = self.store.incarnation().await;
            self.asked.fetch_add(1, Ordering::SeqCst);
            incarnation
        })
    }

    fn claim<'a>(&'a self, batch: &'a [ClaimRequest]) -> BoxFuture<'a, Answers<Claim>> {
        Box::pin(async {
            self.check()?;
            self.claims.fetch_add(batch.len(), Ordering::SeqCst);
            self.store.claim(batch).await
        })
    }

    fn renew<'a>(&'a self, batch: &'a [RenewRequest]) -> BoxFuture<'a, Answers<Answer>> {
        self.store.renew(batch)
    }

    fn complete<'a>(&'a self, batch: &'a [CompleteRequest]) -> BoxFuture<'a, Answers<Answer>> {
        self.store.complete(batch)
    }

    fn release<'a>(&'a self, batch: &'a [ReleaseRequest]) -> BoxFuture<'a, Answers<Answer>> {
        self.store.release(batch)
    }

    fn read<'a>(&'a self, key: &'a RecordKey) -> BoxFuture<'a, Result<Option<Record>, StoreError>> {
        self.store.read(key)
    }

    fn remove<'a>(
        &'a self,
        key: &'a RecordKey,
        claim: Option<Token>,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        self.store.remove(key, claim)
    }
}

/// Asks for a duplicate until the cache has answered for it, which it may not have heard of at once.
pub(crate) async fn until_cached(store: &dyn Store, database: &Watched, one: &ClaimRequest) {
    until("the cache answers", async || {
        let before = database.claims();
        matches!(claim(store, one).await, Claim::Completed { .. }) && database.claims() == before
    })
    .await;
}

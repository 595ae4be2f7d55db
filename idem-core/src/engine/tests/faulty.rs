//! A store that fails on demand, over the memory store.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;

use super::{Clock, MemoryStore};
use crate::store::{
    Answer, Answers, Claim, ClaimRequest, CompleteRequest, Locality, ReleaseRequest, RenewRequest, Store,
    StoreError,
};
use crate::{Record, RecordKey, Token};

pub(super) struct FaultyStore {
    inner: MemoryStore,
    /// Nothing is done, nothing answered but an error.
    is_down: AtomicBool,
    /// The next claims are done, but their replies are lost.
    pub(super) lost_claims: AtomicUsize,
    /// How long the next claim's reply takes.
    pub(super) claim_delay: Mutex<Duration>,
    /// A batch with this key fails as a whole.
    pub(super) poison: Mutex<Option<RecordKey>>,
    /// How long the requests of an operation are on their way.
    delays: Mutex<HashMap<&'static str, Duration>>,
    /// The tokens of the operations under way, and how often one had two of them.
    under_way: Mutex<Vec<Token>>,
    pub(super) overtaken: AtomicUsize,
    pub(super) batches: Mutex<Vec<(&'static str, usize)>>,
    pub(super) is_local: bool,
    pub(super) connections: Option<u32>,
}

impl FaultyStore {
    pub(super) fn new() -> Self {
        Self {
            inner: MemoryStore::builder().clock(Clock::tokio()).build(),
            is_down: AtomicBool::new(false),
            lost_claims: AtomicUsize::new(0),
            claim_delay: Mutex::default(),
            poison: Mutex::default(),
            delays: Mutex::default(),
            under_way: Mutex::default(),
            overtaken: AtomicUsize::new(0),
            batches: Mutex::default(),
            is_local: false,
            connections: None,
        }
    }

    pub(super) fn go_down(&self) {
        self.is_down.store(true, Ordering::SeqCst);
    }

    pub(super) fn come_back(&self) {
        self.is_down.store(false, Ordering::SeqCst);
    }

    /// The sizes of the batches of one operation so far.
    pub(super) fn sizes(&self, operation: &str) -> Vec<usize> {
        self.batches.lock().iter().filter(|(name, _)| *name == operation).map(|(_, size)| *size).collect()
    }

    /// From now on an operation's requests are so long on their way.
    pub(super) fn delay(&self, operation: &'static str, by: Duration) {
        self.delays.lock().insert(operation, by);
    }

    async fn enter<'s>(
        &'s self,
        operation: &'static str,
        asked: Vec<(&RecordKey, Token)>,
    ) -> Result<PendingOperations<'s>, StoreError> {
        self.batches.lock().push((operation, asked.len()));
        let tokens: Vec<Token> = asked.iter().map(|(_, token)| *token).collect();
        {
            let mut under_way = self.under_way.lock();
            let twice = tokens.iter().filter(|token| under_way.contains(token)).count();
            self.overtaken.fetch_add(twice, Ordering::SeqCst);
            under_way.extend(&tokens);
        }
        let under_way = PendingOperations { store: self, tokens };
        let delay = self.delays.lock().get(operation).copied().unwrap_or_default();
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        if self.is_down.load(Ordering::SeqCst) {
            return Err(StoreError::unavailable("switched off by the test"));
        }
        let poison = self.poison.lock();
        for (key, _) in asked {
            if poison.as_ref() == Some(key) {
                return Err(StoreError::statement("a poisoned key"));
            }
        }
        Ok(under_way)
    }
}

/// Operations that the store has not answered.
struct PendingOperations<'s> {
    store: &'s FaultyStore,
    tokens: Vec<Token>,
}

impl Drop for PendingOperations<'_> {
    fn drop(&mut self) {
        let mut under_way = self.store.under_way.lock();
        for token in &self.tokens {
            if let Some(place) = under_way.iter().position(|other| other == token) {
                under_way.swap_remove(place);
            }
        }
    }
}

impl Store for FaultyStore {
    fn name(&self) -> &'static str {
        "faulty"
    }

    fn locality(&self) -> Locality {
        if self.is_local { Locality::InProcess } else { Locality::Remote }
    }

    fn connections(&self) -> Option<u32> {
        self.connections
    }

    fn claim<'a>(&'a self, batch: &'a [ClaimRequest]) -> BoxFuture<'a, Answers<Claim>> {
        async move {
            let _under_way = self.enter("claim", batch.iter().map(|r| (&r.key, r.token)).collect()).await?;
            let answers = self.inner.claim(batch).await;
            let delay = std::mem::take(&mut *self.claim_delay.lock());
            tokio::time::sleep(delay).await;
            let is_lost =
                self.lost_claims.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
            if is_lost.is_ok() { Err(StoreError::unavailable("reply lost")) } else { answers }
        }
        .boxed()
    }

    fn renew<'a>(&'a self, batch: &'a [RenewRequest]) -> BoxFuture<'a, Answers<Answer>> {
        async move {
            let _under_way = self.enter("renew", batch.iter().map(|r| (&r.key, r.token)).collect()).await?;
            self.inner.renew(batch).await
        }
        .boxed()
    }

    fn complete<'a>(&'a self, batch: &'a [CompleteRequest]) -> BoxFuture<'a, Answers<Answer>> {
        async move {
            let _under_way =
                self.enter("complete", batch.iter().map(|r| (&r.key, r.token)).collect()).await?;
            self.inner.complete(batch).await
        }
        .boxed()
    }

    fn release<'a>(&'a self, batch: &'a [ReleaseRequest]) -> BoxFuture<'a, Answers<Answer>> {
        async move {
            let _under_way = self.enter("release", batch.iter().map(|r| (&r.key, r.token)).collect()).await?;
            self.inner.release(batch).await
        }
        .boxed()
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

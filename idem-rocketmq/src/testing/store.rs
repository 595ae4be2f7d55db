use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::BoxFuture;
use idem_core::store::{
    Answer, Answers, Claim, ClaimRequest, CompleteRequest, PageRequest, RecordFilter, RecordPage, Registry,
    ReleaseRequest, RenewRequest, Store, StoreError,
};
use idem_core::{Clock, MemoryStore, Record, RecordKey, Token};

/// A store in memory that fails on purpose. Clones share it.
///
/// It goes by tokio's clock, so that a test that pauses the time moves its leases and retentions.
#[derive(Clone, Debug)]
pub struct TestStore(Arc<TestStoreState>);

#[derive(Debug)]
struct TestStoreState {
    store: MemoryStore,
    is_away: AtomicBool,
    takes_leases: AtomicBool,
}

impl Default for TestStore {
    fn default() -> Self {
        Self::new()
    }
}

impl TestStore {
    /// An empty one that works.
    pub fn new() -> Self {
        let store = MemoryStore::builder().clock(Clock::tokio()).build();
        Self(Arc::new(TestStoreState {
            store,
            is_away: AtomicBool::new(false),
            takes_leases: AtomicBool::new(false),
        }))
    }

    /// Nothing is done and nothing answered from now on, as where the server is out of reach.
    pub fn go_away(&self) {
        self.0.is_away.store(true, Ordering::SeqCst);
    }

    /// It answers again.
    pub fn come_back(&self) {
        self.0.is_away.store(false, Ordering::SeqCst);
    }

    /// From now on no lease is renewed, as where another process has it: a handler is cancelled when its lease is to be renewed,
    /// which is after a third of it.
    pub fn take_leases(&self) {
        self.0.takes_leases.store(true, Ordering::SeqCst);
    }

    fn ask<'a, T: Send + 'a>(
        &'a self,
        asking: impl FnOnce(&'a MemoryStore) -> BoxFuture<'a, Result<T, StoreError>>,
    ) -> BoxFuture<'a, Result<T, StoreError>> {
        if self.0.is_away.load(Ordering::SeqCst) {
            return Box::pin(async { Err(StoreError::unavailable("the store is away on purpose")) });
        }
        asking(&self.0.store)
    }
}

impl Store for TestStore {
    fn name(&self) -> &'static str {
        "test"
    }

    fn claim<'a>(&'a self, batch: &'a [ClaimRequest]) -> BoxFuture<'a, Answers<Claim>> {
        self.ask(|store| store.claim(batch))
    }

    fn renew<'a>(&'a self, batch: &'a [RenewRequest]) -> BoxFuture<'a, Answers<Answer>> {
        let takes_leases = self.0.takes_leases.load(Ordering::SeqCst);
        self.ask(|store| {
            if takes_leases {
                return Box::pin(async { Ok(batch.iter().map(|_| Ok(Answer::Lost)).collect()) });
            }
            store.renew(batch)
        })
    }

    fn complete<'a>(&'a self, batch: &'a [CompleteRequest]) -> BoxFuture<'a, Answers<Answer>> {
        self.ask(|store| store.complete(batch))
    }

    fn release<'a>(&'a self, batch: &'a [ReleaseRequest]) -> BoxFuture<'a, Answers<Answer>> {
        self.ask(|store| store.release(batch))
    }

    fn read<'a>(&'a self, key: &'a RecordKey) -> BoxFuture<'a, Result<Option<Record>, StoreError>> {
        self.ask(|store| store.read(key))
    }

    fn remove<'a>(
        &'a self,
        key: &'a RecordKey,
        claim: Option<Token>,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        self.ask(|store| store.remove(key, claim))
    }

    fn list<'a>(
        &'a self,
        filter: &'a RecordFilter,
        page: &'a PageRequest,
    ) -> BoxFuture<'a, Result<RecordPage, StoreError>> {
        self.ask(|store| store.list(filter, page))
    }

    fn registry(&self) -> Option<Arc<dyn Registry>> {
        self.0.store.registry()
    }
}

//! The stores and brokers of these tests.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use futures_util::future::BoxFuture;
use idem_core::store::{
    Answer, Answers, Claim, ClaimRequest, CompleteRequest, ReleaseRequest, RenewRequest, Store, StoreError,
};
use idem_core::{HandlerResult, MemoryStore, Record, RecordKey, Token};
use parking_lot::Mutex;

use super::{TOPIC, bridge, route};
use crate::client::{ClientError, CopyExtent, CopyPurpose, Queues, Received};
use crate::listener::{Bridge, Broker};

/// Stands for a store over a connection, and notes the size of each call.
#[derive(Clone, Default)]
pub(super) struct CallNotingStore {
    store: MemoryStore,
    pub(super) calls: Arc<Mutex<Vec<(&'static str, usize)>>>,
}

impl CallNotingStore {
    /// The keys of all completions.
    pub(super) fn completed(&self) -> usize {
        let calls = self.calls.lock();
        calls.iter().filter(|(call, _)| *call == "complete").map(|(_, keys)| keys).sum()
    }
}

impl Store for CallNotingStore {
    fn name(&self) -> &'static str {
        "noting"
    }

    fn claim<'a>(&'a self, batch: &'a [ClaimRequest]) -> BoxFuture<'a, Answers<Claim>> {
        self.calls.lock().push(("claim", batch.len()));
        self.store.claim(batch)
    }

    fn renew<'a>(&'a self, batch: &'a [RenewRequest]) -> BoxFuture<'a, Answers<Answer>> {
        self.store.renew(batch)
    }

    fn complete<'a>(&'a self, batch: &'a [CompleteRequest]) -> BoxFuture<'a, Answers<Answer>> {
        self.calls.lock().push(("complete", batch.len()));
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

/// A client that notes how many threads it is to take.
#[derive(Default)]
pub(super) struct ThreadNotingBroker {
    pub(super) threads: AtomicU32,
    pub(super) queues: Option<Queues>,
}

impl Broker for ThreadNotingBroker {
    fn copy<'a>(
        &'a self,
        _: &'a Received<'_>,
        _: CopyPurpose,
        _: CopyExtent,
    ) -> BoxFuture<'a, Result<(), ClientError>> {
        unreachable!("no handler fails")
    }

    fn take_threads(&self, threads: u32) -> BoxFuture<'_, ()> {
        self.threads.store(threads, Ordering::SeqCst);
        Box::pin(async {})
    }

    fn queues(&self) -> BoxFuture<'_, Option<Queues>> {
        Box::pin(async { self.queues.clone() })
    }

    fn pause(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }

    fn resume(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }

    fn shutdown(&self) -> BoxFuture<'static, ()> {
        Box::pin(async {})
    }
}

/// Refuses copies, each in its turn, and takes every one after them.
#[derive(Default)]
pub(super) struct RefusingBroker {
    /// Whether for size; the last one stays.
    refusals: Mutex<Vec<bool>>,
    pub(super) asked: Mutex<Vec<(&'static str, CopyExtent)>>,
}

impl RefusingBroker {
    pub(super) fn new(refusals: &[bool]) -> Arc<Self> {
        Arc::new(Self { refusals: Mutex::new(refusals.to_vec()), ..Self::default() })
    }

    /// A bridge with this client, over a handler that ends so.
    pub(super) fn bridge(self: &Arc<Self>, work: fn() -> HandlerResult) -> Arc<Bridge> {
        let bridge = bridge(&CallNotingStore::default(), route(move |_| work()));
        let client: Arc<dyn Broker> = self.clone();
        bridge.connect(&client);
        bridge
    }
}

impl Broker for RefusingBroker {
    fn copy<'a>(
        &'a self,
        _: &'a Received<'_>,
        purpose: CopyPurpose,
        extent: CopyExtent,
    ) -> BoxFuture<'a, Result<(), ClientError>> {
        let what = match purpose {
            CopyPurpose::Retry(_) | CopyPurpose::Onward(_) => "retry",
            CopyPurpose::DeadLetter(_) => "dead letter",
        };
        self.asked.lock().push((what, extent));
        let mut refusals = self.refusals.lock();
        let refused = if refusals.is_empty() { None } else { Some(refusals.remove(0)) };
        let error = |is_too_large| ClientError::Refused {
            what: "copy",
            group: "group".to_owned(),
            topic: TOPIC.to_owned(),
            message_id: "id".to_owned(),
            cause: "a test".to_owned(),
            is_too_large,
        };
        Box::pin(async move { refused.map_or(Ok(()), |is_too_large| Err(error(is_too_large))) })
    }

    fn take_threads(&self, _: u32) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }

    fn queues(&self) -> BoxFuture<'_, Option<Queues>> {
        Box::pin(async { None })
    }

    fn pause(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }

    fn resume(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }

    fn shutdown(&self) -> BoxFuture<'static, ()> {
        Box::pin(async {})
    }
}

/// A client that takes every copy, and counts them.
#[derive(Default)]
pub(super) struct CopyCountingBroker(pub(super) AtomicU32);

impl CopyCountingBroker {
    fn one(&self) -> BoxFuture<'static, Result<(), ClientError>> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Box::pin(async { Ok(()) })
    }
}

impl Broker for CopyCountingBroker {
    fn copy<'a>(
        &'a self,
        _: &'a Received<'_>,
        _: CopyPurpose,
        _: CopyExtent,
    ) -> BoxFuture<'a, Result<(), ClientError>> {
        self.one()
    }

    fn take_threads(&self, _: u32) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }

    fn queues(&self) -> BoxFuture<'_, Option<Queues>> {
        Box::pin(async { None })
    }

    fn pause(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }

    fn resume(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }

    fn shutdown(&self) -> BoxFuture<'static, ()> {
        Box::pin(async {})
    }
}

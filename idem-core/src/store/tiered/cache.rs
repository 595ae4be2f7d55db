//! Completions in a store that is used as a cache.
//!
//! A cached completion is a completed record of that store, whose reply begins with the database's incarnation. What a lost,
//! stale or foreign entry says is never taken for more than "ask the database".

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::join_all;
use tokio::time::{Instant, timeout};

use super::{IN_MEMORY, Incarnation};
use crate::key::RecordKey;
use crate::panics::loud;
use crate::record::{Record, State, Token};
use crate::runtime;
use crate::store::{Answer, Claim, ClaimRequest, CompleteRequest, Locality, Store, StoreError};

/// A cache that takes longer than this is slower than the database.
const LONGEST_WAIT: Duration = Duration::from_millis(100);
/// How long a cache that failed is not asked.
const REST: Duration = Duration::from_secs(1);
const INCARNATION: usize = 16;

pub(super) struct Cache(Arc<CacheInner>);

struct CacheInner {
    store: Arc<dyn Store>,
    rests: AtomicBool,
}

impl Cache {
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        Self(Arc::new(CacheInner { store, rests: AtomicBool::new(false) }))
    }

    pub(super) fn name(&self) -> &'static str {
        self.0.store.name()
    }

    /// The completion that counts under this incarnation, where no waiting is needed to see it.
    pub(super) fn known(&self, incarnation: Incarnation, key: &RecordKey) -> Option<Claim> {
        if !self.is_in_memory() || self.rests() {
            return None;
        }
        claim(incarnation, self.0.store.read(key).now_or_never()?.ok()??)
    }

    /// The completions that count under this incarnation.
    pub(super) async fn completed(
        &self,
        incarnation: Incarnation,
        batch: &[ClaimRequest],
    ) -> Vec<Option<Claim>> {
        if self.rests() {
            return vec![None; batch.len()];
        }
        let Ok(records) = timeout(LONGEST_WAIT, self.0.read_all(batch)).await else {
            self.0.rest(&StoreError::unavailable("it did not answer in time"));
            return vec![None; batch.len()];
        };
        let claims = records.into_iter().map(|record| match record {
            Ok(record) => claim(incarnation, record?),
            Err(error) => {
                self.0.rest(&error);
                None
            }
        });
        claims.collect()
    }

    /// Writes completions, without anybody waiting for it.
    ///
    /// They live as long as their records, counted from before the database was asked; and in memory no longer than a
    /// minute.
    pub(super) fn write(&self, incarnation: Incarnation, mut batch: Vec<CompleteRequest>, asked: Instant) {
        if self.rests() {
            return;
        }
        let is_in_memory = self.is_in_memory();
        for request in &mut batch {
            let left = request.retention.saturating_sub(asked.elapsed());
            request.retention = if is_in_memory { left.min(IN_MEMORY) } else { left };
            request.token = Token::random();
            request.reply = Some(labelled(incarnation, request.reply.as_deref()));
        }
        batch.retain(|request| !request.retention.is_zero());
        if batch.is_empty() {
            return;
        }
        let inner = self.0.clone();
        let writing = async move {
            match timeout(LONGEST_WAIT, inner.put(&batch)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => inner.rest(&error),
                Err(_) => inner.rest(&StoreError::unavailable("it did not answer in time")),
            }
        };
        runtime::handle().spawn(loud("cache", writing, || {}));
    }

    pub(super) async fn remove(&self, key: &RecordKey) -> Result<(), StoreError> {
        self.0.store.remove(key, None).await.map(drop)
    }

    fn is_in_memory(&self) -> bool {
        self.0.store.locality() == Locality::InProcess
    }

    fn rests(&self) -> bool {
        self.0.rests.load(Ordering::Acquire)
    }
}

impl CacheInner {
    async fn read_all(&self, batch: &[ClaimRequest]) -> Vec<Result<Option<Record>, StoreError>> {
        let reads = batch.iter().map(|request| self.store.read(&request.key));
        if self.store.locality() == Locality::Remote {
            return join_all(reads).await;
        }
        // Reads that do not wait are not worth the work of waiting for all at once.
        let mut records = Vec::with_capacity(batch.len());
        for read in reads {
            records.push(read.await);
        }
        records
    }

    async fn put(&self, batch: &[CompleteRequest]) -> Result<(), StoreError> {
        let answers = self.store.complete(batch).await?;
        let mut again = Vec::new();
        for (request, answer) in batch.iter().zip(answers) {
            // A record that is there already is of another incarnation, or somebody else's.
            if answer? == Answer::Lost && self.is_replaceable(request).await? {
                self.store.remove(&request.key, None).await?;
                again.push(request.clone());
            }
        }
        if !again.is_empty() {
            self.store.complete(&again).await?;
        }
        Ok(())
    }

    /// A completion with a label of ours may go; a record that a consumer keeps in the same store may not.
    async fn is_replaceable(&self, request: &CompleteRequest) -> Result<bool, StoreError> {
        let Some(record) = self.store.read(&request.key).await? else { return Ok(true) };
        let is_labelled = record.reply.as_ref().is_some_and(|reply| reply.len() > INCARNATION);
        Ok(record.state == State::Completed && is_labelled && record.reply != request.reply)
    }

    /// A dead cache slows down and does not stop.
    fn rest(self: &Arc<Self>, error: &StoreError) {
        if self.rests.swap(true, Ordering::AcqRel) {
            return;
        }
        metrics::counter!("idem_cache_failures_total", "cache" => self.store.name()).increment(1);
        tracing::warn!(
            cache = self.store.name(),
            %error,
            "the cache does not answer: every key is asked of the database until it does"
        );
        let inner = self.clone();
        let resting = async move {
            tokio::time::sleep(REST).await;
            inner.rests.store(false, Ordering::Release);
        };
        runtime::handle().spawn(loud("cache", resting, || {}));
    }
}

/// The incarnation, whether there is a reply, and the reply.
fn labelled(incarnation: Incarnation, reply: Option<&[u8]>) -> Bytes {
    let mut bytes = Vec::with_capacity(INCARNATION + 1 + reply.map_or(0, <[u8]>::len));
    bytes.extend_from_slice(&incarnation.to_bytes());
    bytes.push(u8::from(reply.is_some()));
    bytes.extend_from_slice(reply.unwrap_or_default());
    bytes.into()
}

fn claim(incarnation: Incarnation, record: Record) -> Option<Claim> {
    if record.state != State::Completed {
        return None;
    }
    let mut label = record.reply?;
    if label.len() <= INCARNATION || label[..INCARNATION] != incarnation.to_bytes() {
        return None;
    }
    let reply = label.split_off(INCARNATION + 1);
    let has_reply = label[INCARNATION] != 0;
    Some(Claim::Completed { fingerprint: record.fingerprint, reply: has_reply.then_some(reply) })
}

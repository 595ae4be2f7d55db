//! The in-process store.

mod books;
#[cfg(feature = "conformance")]
mod model;
mod rules;
mod shard;

use std::fmt;
use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use futures_util::future::BoxFuture;
use parking_lot::{Mutex, MutexGuard};

use self::books::Books;
#[cfg(feature = "conformance")]
pub use self::model::RecordPlace;
use self::shard::{BatchMoment, Shard};
use super::list::KeyFilter;
use super::{
    Answer, Answers, Claim, ClaimRequest, CompleteRequest, ListedRecord, Locality, PageCursor, PageRequest,
    RecordFilter, RecordPage, Registry, ReleaseRequest, RenewRequest, Store, StoreError,
};
use crate::clock::Clock;
use crate::key::RecordKey;
use crate::record::{Record, Token};

const SHARDS: usize = 64;

/// Keeps records in this process.
///
/// For tests, and for a single process whose duplicates never outlive it: everything is forgotten when the
/// process ends, so a duplicate that comes after a restart runs again, and two processes do not see each other.
/// In between there is nothing that a crash could leave behind: the records go with the process.
///
/// It takes as much memory as it needs. A record takes about 300 bytes and twice its key's length, and lives for the retention:
/// **new keys per second × retention in seconds × 350 bytes**. With the default retention of four days, one key a second makes 120 MB,
/// ten make 1.2 GB, and a hundred make 12 GB: shorten the retention, give it a [`capacity`](MemoryStoreBuilder::capacity), or take
/// another store. Expired records are dropped as a side effect of other operations, a few at a time. Clones share the same
/// records.
///
/// With a capacity, a store that is full of records which are still valid answers [`StoreError::is_full`]. It forgets none of them
/// to make room, unless [`forget_oldest_completed`](MemoryStoreBuilder::forget_oldest_completed) says so.
///
/// Leases and retention run on the [`Clock`], fence numbers come from the wall clock.
///
/// ```
/// use idem_core::MemoryStore;
///
/// let store = MemoryStore::builder().capacity(10_000).build();
/// assert!(store.is_empty());
/// ```
#[derive(Clone)]
pub struct MemoryStore(Arc<MemoryStoreInner>);

struct MemoryStoreInner {
    shards: Box<[Mutex<Shard>]>,
    records: AtomicUsize,
    capacity: Option<usize>,
    forgets: bool,
    clock: Clock,
    books: Books,
}

impl MemoryStore {
    /// A store for as many records as there is memory for, on the clock that goes on while the machine sleeps.
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// A store with settings of its own.
    pub fn builder() -> MemoryStoreBuilder {
        MemoryStoreBuilder { capacity: None, forgets: false, clock: Clock::boot() }
    }

    /// How many records it holds, those included that have expired and were not dropped yet.
    pub fn len(&self) -> usize {
        self.0.records.load(Ordering::Relaxed)
    }

    /// Whether it holds no record.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn now(&self) -> BatchMoment {
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        BatchMoment { clock: self.0.clock.now(), wall_micros: micros(since_epoch) }
    }

    /// The shard of a key, with a few expired records dropped.
    fn shard(&self, hash: u64, now: BatchMoment) -> MutexGuard<'_, Shard> {
        let mut shard = self.0.shards[shard_of(hash)].lock();
        self.forget(shard.purge(now.clock, shard::PURGE_PER_OPERATION));
        shard
    }

    /// Runs an operation that may need room for a new record.
    fn with_room<T>(
        &self,
        hash: u64,
        now: BatchMoment,
        mut operation: impl FnMut(&mut Shard, CapacityClaim<'_>) -> Option<T>,
    ) -> Result<T, StoreError> {
        if let Some(answer) = operation(&mut self.shard(hash, now), CapacityClaim(&self.0)) {
            return Ok(answer);
        }
        // Full: what has expired anywhere makes room, and what is valid stays.
        for shard in &self.0.shards {
            self.forget(shard.lock().purge(now.clock, usize::MAX));
        }
        loop {
            if let Some(answer) = operation(&mut self.shard(hash, now), CapacityClaim(&self.0)) {
                return Ok(answer);
            }
            if !self.forget_oldest() {
                return Err(self.full());
            }
        }
    }

    /// Takes out the completed record whose retention ends first, where the user has said so. Whether there was one.
    fn forget_oldest(&self) -> bool {
        if !self.0.forgets {
            return false;
        }
        let oldest = |shard: &&Mutex<Shard>| shard.lock().oldest_completed().unwrap_or(Duration::MAX);
        let forgot =
            self.0.shards.iter().min_by_key(oldest).is_some_and(|shard| shard.lock().forget_oldest());
        self.forget(usize::from(forgot));
        forgot
    }

    fn full(&self) -> StoreError {
        let capacity = self.0.capacity.unwrap_or(usize::MAX);
        StoreError::full(format!(
            "the memory store is full: all of its {capacity} records are still valid, so that nothing new is handled; raise its \
             `capacity`, shorten the retention, or let it `forget_oldest_completed`"
        ))
    }

    /// The records of a page: shard by shard, and in each by the hashes of the keys.
    fn page(&self, filter: &RecordFilter, page: &PageRequest) -> RecordPage {
        let now = self.now();
        if let KeyFilter::One(key) = &filter.keys {
            let shard = self.shard(key.hash64(), now);
            let found = shard.listed(key, now).filter(|found| filter.takes(found));
            return RecordPage { records: found.into_iter().collect(), next: None };
        }
        let (mut shard, mut after) = place(page.after.as_ref());
        let (mut records, mut left) = (Vec::new(), usize::try_from(page.rows.max(1)).unwrap_or(usize::MAX));
        while let Some(held) = self.0.shards.get(shard) {
            let listed = held.lock().list(after, left, now);
            left = left.saturating_sub(listed.records.len());
            let is_taken =
                |found: &ListedRecord| filter.takes_namespace(found.key.namespace()) && filter.takes(found);
            records.extend(listed.records.into_iter().filter(is_taken));
            (shard, after) = match listed.last {
                Some(last) => (shard, Some(last)),
                None => (shard.saturating_add(1), None),
            };
            if left == 0 {
                break;
            }
        }
        let next = (shard < SHARDS).then(|| cursor(shard, after));
        RecordPage { records, next }
    }

    fn forget(&self, records: usize) {
        if records > 0 {
            self.0.records.fetch_sub(records, Ordering::Relaxed);
        }
    }
}

/// The right to ask for room for one more record.
struct CapacityClaim<'a>(&'a MemoryStoreInner);

impl CapacityClaim<'_> {
    fn take(&self) -> bool {
        let one_more =
            |records| self.0.capacity.is_none_or(|capacity| records < capacity).then_some(records + 1);
        self.0.records.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok()
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (records, capacity) = (self.len(), &self.0.capacity);
        f.debug_struct("MemoryStore").field("records", &records).field("capacity", capacity).finish()
    }
}

/// Settings of a [`MemoryStore`].
#[derive(Debug, Clone)]
#[must_use]
pub struct MemoryStoreBuilder {
    capacity: Option<usize>,
    forgets: bool,
    clock: Clock,
}

impl MemoryStoreBuilder {
    /// How many records it may hold: as many as there is memory for, unless said otherwise.
    ///
    /// The retention decides how many there are: new keys per second times the retention in seconds. When it is full nothing new is
    /// handled until a record expires; the log says so once, at `ERROR`, and once when there is room again.
    pub fn capacity(mut self, records: usize) -> Self {
        self.capacity = Some(records);
        self
    }

    /// Makes room in a full store by forgetting the completed record whose retention would end first, the oldest mostly: **a
    /// duplicate of it runs again.** For work that may be repeated rather than stand still. What is in progress, and
    /// what has failed attempts, is kept.
    pub fn forget_oldest_completed(mut self) -> Self {
        self.forgets = true;
        self
    }

    /// The clock of leases and retention: [`Clock::boot`] unless a test pauses [`Clock::tokio`].
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// The store.
    pub fn build(self) -> MemoryStore {
        MemoryStore(Arc::new(MemoryStoreInner {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            records: AtomicUsize::new(0),
            capacity: self.capacity,
            forgets: self.forgets,
            clock: self.clock,
            books: Books::default(),
        }))
    }
}

impl Store for MemoryStore {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn locality(&self) -> Locality {
        Locality::InProcess
    }

    fn claim<'a>(&'a self, batch: &'a [ClaimRequest]) -> BoxFuture<'a, Answers<Claim>> {
        let now = self.now();
        let answer = |request: &ClaimRequest| {
            let hash = request.key.hash64();
            self.with_room(hash, now, |shard, room| {
                rules::claim(shard.place(hash, &request.key, now.clock), request, now, || room.take())
            })
        };
        Box::pin(ready(Ok(batch.iter().map(answer).collect())))
    }

    fn renew<'a>(&'a self, batch: &'a [RenewRequest]) -> BoxFuture<'a, Answers<Answer>> {
        let now = self.now();
        let answer = |request: &RenewRequest| {
            let hash = request.key.hash64();
            let mut shard = self.shard(hash, now);
            Ok(rules::renew(shard.place(hash, &request.key, now.clock), request, now))
        };
        Box::pin(ready(Ok(batch.iter().map(answer).collect())))
    }

    fn complete<'a>(&'a self, batch: &'a [CompleteRequest]) -> BoxFuture<'a, Answers<Answer>> {
        let now = self.now();
        let answer = |request: &CompleteRequest| {
            let hash = request.key.hash64();
            let forgets = self.0.forgets;
            self.with_room(hash, now, |shard, room| {
                let place = shard.place(hash, &request.key, now.clock);
                let answer = rules::complete(place, request, now, || room.take());
                if forgets && answer == Some(Answer::Done) {
                    shard.completed(hash, &request.key);
                }
                answer
            })
        };
        Box::pin(ready(Ok(batch.iter().map(answer).collect())))
    }

    fn release<'a>(&'a self, batch: &'a [ReleaseRequest]) -> BoxFuture<'a, Answers<Answer>> {
        let now = self.now();
        let answer = |request: &ReleaseRequest| {
            let hash = request.key.hash64();
            let mut shard = self.shard(hash, now);
            Ok(rules::release(shard.place(hash, &request.key, now.clock), request, now))
        };
        Box::pin(ready(Ok(batch.iter().map(answer).collect())))
    }

    fn read<'a>(&'a self, key: &'a RecordKey) -> BoxFuture<'a, Result<Option<Record>, StoreError>> {
        let (hash, now) = (key.hash64(), self.now());
        let record = self.shard(hash, now).read(hash, key, now.clock).cloned();
        Box::pin(ready(Ok(record)))
    }

    fn remove<'a>(
        &'a self,
        key: &'a RecordKey,
        claim: Option<Token>,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        let (hash, now) = (key.hash64(), self.now());
        let removed = self.shard(hash, now).remove(hash, key, claim);
        self.forget(usize::from(removed.is_some()));
        Box::pin(ready(Ok(removed.is_some_and(|slot| slot.expires > now.clock))))
    }

    fn list<'a>(
        &'a self,
        filter: &'a RecordFilter,
        page: &'a PageRequest,
    ) -> BoxFuture<'a, Result<RecordPage, StoreError>> {
        Box::pin(ready(Ok(self.page(filter, page))))
    }

    fn registry(&self) -> Option<Arc<dyn Registry>> {
        Some(Arc::new(self.clone()))
    }
}

/// A page's place: the shard, and the hash behind which it begins.
fn place(cursor: Option<&PageCursor>) -> (usize, Option<u64>) {
    match cursor.map_or(&[][..], PageCursor::as_bytes).split_first() {
        Some((shard, hash)) => (usize::from(*shard), hash.try_into().ok().map(u64::from_be_bytes)),
        None => (0, None),
    }
}

fn cursor(shard: usize, after: Option<u64>) -> PageCursor {
    let mut bytes = vec![u8::try_from(shard).unwrap_or(u8::MAX)];
    bytes.extend(after.map(u64::to_be_bytes).into_iter().flatten());
    PageCursor::from_bytes(bytes)
}

/// The table inside of a shard uses the low and the very highest bits, so the shard takes others.
fn shard_of(hash: u64) -> usize {
    usize::try_from(hash >> 48).unwrap_or_default() % SHARDS
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

//! The in-process store.

mod rules;
mod shard;

use std::fmt;
use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use futures_util::future::BoxFuture;
use parking_lot::{Mutex, MutexGuard};

use self::shard::{Now, Shard};
use super::{
    Answer, Answers, Claim, ClaimRequest, CompleteRequest, Locality, ReleaseRequest, RenewRequest, Store,
    StoreError,
};
use crate::clock::Clock;
use crate::key::RecordKey;
use crate::record::Record;

const SHARDS: usize = 64;
const DEFAULT_CAPACITY: usize = 1_000_000;

/// Keeps records in this process.
///
/// For tests, and for a single process whose duplicates never outlive it: everything is forgotten when the
/// process ends, so a duplicate that comes after a restart runs again, and two processes do not see each other.
/// In between there is nothing that a crash could leave behind: the records go with the process.
///
/// It is bounded. A store that is full of records which are still valid answers [`StoreError::is_full`]; it
/// never forgets one of them to make room. Expired records are dropped as a side effect of other operations, a
/// few at a time. Clones share the same records.
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
pub struct MemoryStore(Arc<Inner>);

struct Inner {
    shards: Box<[Mutex<Shard>]>,
    records: AtomicUsize,
    capacity: usize,
    clock: Clock,
}

impl MemoryStore {
    /// A store for up to a million records, on the clock that goes on while the machine sleeps.
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// A store with settings of its own.
    pub fn builder() -> MemoryStoreBuilder {
        MemoryStoreBuilder { capacity: DEFAULT_CAPACITY, clock: Clock::boot() }
    }

    /// How many records it holds, those included that have expired and were not dropped yet.
    pub fn len(&self) -> usize {
        self.0.records.load(Ordering::Relaxed)
    }

    /// Whether it holds no record.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn now(&self) -> Now {
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Now { clock: self.0.clock.now(), wall_micros: micros(since_epoch) }
    }

    /// The shard of a key, with a few expired records dropped.
    fn shard(&self, hash: u64, now: Now) -> MutexGuard<'_, Shard> {
        // The table inside of a shard uses the low and the very highest bits, so the shard takes others.
        let index = usize::try_from(hash >> 48).unwrap_or_default() % SHARDS;
        let mut shard = self.0.shards[index].lock();
        self.forget(shard.purge(now.clock, shard::PURGE_PER_OPERATION));
        shard
    }

    /// Runs an operation that may need room for a new record.
    fn with_room<T>(
        &self,
        hash: u64,
        now: Now,
        mut operation: impl FnMut(&mut Shard, Room<'_>) -> Option<T>,
    ) -> Result<T, StoreError> {
        if let Some(answer) = operation(&mut self.shard(hash, now), Room(&self.0)) {
            return Ok(answer);
        }
        // Full: what has expired anywhere makes room, and what is valid stays.
        for shard in &self.0.shards {
            self.forget(shard.lock().purge(now.clock, usize::MAX));
        }
        operation(&mut self.shard(hash, now), Room(&self.0)).ok_or_else(|| {
            let capacity = self.0.capacity;
            StoreError::full(format!(
                "the memory store is full: all of its {capacity} records are still valid; raise its capacity or shorten the retention"
            ))
        })
    }

    fn forget(&self, records: usize) {
        if records > 0 {
            self.0.records.fetch_sub(records, Ordering::Relaxed);
        }
    }
}

/// The right to ask for room for one more record.
struct Room<'a>(&'a Inner);

impl Room<'_> {
    fn take(&self) -> bool {
        let one_more = |records| (records < self.0.capacity).then_some(records + 1);
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
        let (records, capacity) = (self.len(), self.0.capacity);
        f.debug_struct("MemoryStore").field("records", &records).field("capacity", &capacity).finish()
    }
}

/// Settings of a [`MemoryStore`].
#[derive(Debug, Clone)]
#[must_use]
pub struct MemoryStoreBuilder {
    capacity: usize,
    clock: Clock,
}

impl MemoryStoreBuilder {
    /// How many records it may hold: a million unless said otherwise.
    ///
    /// A record takes about 300 bytes and its key. The retention decides how many there are: messages per
    /// second times the retention in seconds.
    pub fn capacity(mut self, records: usize) -> Self {
        self.capacity = records;
        self
    }

    /// The clock of leases and retention: [`Clock::boot`] unless a test pauses [`Clock::tokio`].
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// The store.
    pub fn build(self) -> MemoryStore {
        MemoryStore(Arc::new(Inner {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            records: AtomicUsize::new(0),
            capacity: self.capacity,
            clock: self.clock,
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
            self.with_room(hash, now, |shard, room| {
                rules::complete(shard.place(hash, &request.key, now.clock), request, now, || room.take())
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

    fn remove<'a>(&'a self, key: &'a RecordKey) -> BoxFuture<'a, Result<bool, StoreError>> {
        let (hash, now) = (key.hash64(), self.now());
        let removed = self.shard(hash, now).remove(hash, key);
        self.forget(usize::from(removed.is_some()));
        Box::pin(ready(Ok(removed.is_some_and(|slot| slot.expires > now.clock))))
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

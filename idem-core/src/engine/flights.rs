//! The keys in flight in this process.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::key::RecordKey;
use crate::lease::Flight;

const SHARDS: usize = 16;

/// Which flight a key belongs to, in shards.
#[derive(Default)]
pub(crate) struct Flights([Mutex<FlightTable>; SHARDS]);

type FlightTable = HashMap<RecordKey, Arc<Flight>, BuildHasherDefault<KeyHasher>>;

/// Takes the hash that a key has already.
#[derive(Default)]
struct KeyHasher(u64);

impl Hasher for KeyHasher {
    /// Turned, because the keys of a shard have their highest bits in common, and a table looks at those first.
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash.rotate_left(20);
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("a record's key is hashed by its hash");
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl Flights {
    /// Enters a flight, or finds the one that has its key.
    pub(crate) fn enter(
        &self,
        key: &RecordKey,
        new: impl FnOnce() -> Flight,
    ) -> Result<Arc<Flight>, Arc<Flight>> {
        match self.shard(key).lock().entry(key.clone()) {
            Entry::Occupied(entry) => Err(entry.get().clone()),
            Entry::Vacant(entry) => Ok(entry.insert(Arc::new(new())).clone()),
        }
    }

    pub(crate) fn leave(&self, flight: &Arc<Flight>) {
        let Some(key) = &flight.key else { return };
        let mut shard = self.shard(key).lock();
        if shard.get(key).is_some_and(|present| Arc::ptr_eq(present, flight)) {
            shard.remove(key);
        }
    }

    fn shard(&self, key: &RecordKey) -> &Mutex<FlightTable> {
        let hash = usize::try_from(key.hash64() >> 60).unwrap_or_default();
        &self.0[hash % SHARDS]
    }
}

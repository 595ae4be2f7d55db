//! The keys in flight in this process.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::key::RecordKey;
use crate::lease::Flight;

const SHARDS: usize = 16;

/// Which flight a key belongs to, in shards.
#[derive(Default)]
pub(crate) struct Flights([Mutex<HashMap<RecordKey, Arc<Flight>>>; SHARDS]);

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

    fn shard(&self, key: &RecordKey) -> &Mutex<HashMap<RecordKey, Arc<Flight>>> {
        let hash = usize::try_from(key.hash64() >> 60).unwrap_or_default();
        &self.0[hash % SHARDS]
    }
}

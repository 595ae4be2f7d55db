//! One shard: a table of records, and a heap that finds the expired ones.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use hashbrown::HashTable;

use crate::key::RecordKey;
use crate::record::Record;

/// How many entries of the heap one operation looks at: with more than one, purging outpaces claiming.
pub(super) const PURGE_PER_OPERATION: usize = 2;

/// The moment of a batch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    /// By the clock of leases and retention.
    pub(super) clock: Duration,
    /// By the wall clock, for fences.
    pub(super) wall_micros: u64,
}

/// A record in the table.
pub(super) struct Slot {
    hash: u64,
    key: RecordKey,
    pub(super) record: Record,
    /// When the record's life ends. Set it with [`Shard::expire`].
    pub(super) expires: Duration,
    /// The earliest moment at which the heap looks at this slot; never later than `expires`.
    looked_at: Duration,
}

/// A part of the store behind one lock.
#[derive(Default)]
pub(super) struct Shard {
    table: HashTable<Slot>,
    /// When to look at which hash. An entry whose slot is gone, or is looked at by another one, is stale.
    heap: BinaryHeap<Reverse<(Duration, u64)>>,
}

impl Shard {
    /// The record of a key whose life is not over.
    pub(super) fn valid(&mut self, hash: u64, key: &RecordKey, now: Duration) -> Option<&mut Slot> {
        self.table.find_mut(hash, |slot| slot.key == *key).filter(|slot| slot.expires > now)
    }

    /// Puts a record in place of none or of an expired one. `room` is asked where the table grows; the answer
    /// is whether there was room.
    pub(super) fn put(
        &mut self,
        hash: u64,
        key: &RecordKey,
        record: Record,
        expires: Duration,
        room: impl FnOnce() -> bool,
    ) -> bool {
        if let Some(slot) = self.table.find_mut(hash, |slot| slot.key == *key) {
            slot.record = record;
            Self::expire(&mut self.heap, slot, expires);
            return true;
        }
        if !room() {
            return false;
        }
        let slot = Slot { hash, key: key.clone(), record, expires, looked_at: expires };
        self.table.insert_unique(hash, slot, |slot| slot.hash);
        self.heap.push(Reverse((expires, hash)));
        true
    }

    /// Changes the record of a key whose life is not over, and when that life ends.
    pub(super) fn change(
        &mut self,
        hash: u64,
        key: &RecordKey,
        expires: Duration,
        change: impl FnOnce(&mut Record),
    ) {
        if let Some(slot) = self.table.find_mut(hash, |slot| slot.key == *key) {
            change(&mut slot.record);
            Self::expire(&mut self.heap, slot, expires);
        }
    }

    /// Takes a record out.
    pub(super) fn remove(&mut self, hash: u64, key: &RecordKey) -> Option<Slot> {
        let entry = self.table.find_entry(hash, |slot| slot.key == *key).ok()?;
        Some(entry.remove().0)
    }

    /// Drops expired records, looking at up to `limit` entries of the heap. How many were dropped.
    pub(super) fn purge(&mut self, now: Duration, limit: usize) -> usize {
        let mut dropped = 0;
        for _ in 0..limit {
            match self.heap.peek() {
                Some(Reverse((moment, _))) if *moment <= now => {}
                _ => break,
            }
            if let Some(Reverse((moment, hash))) = self.heap.pop() {
                dropped += usize::from(self.look_at(moment, hash, now));
            }
        }
        dropped
    }

    /// Drops the slot of a heap entry, or looks again when its life ends. Whether it was dropped.
    fn look_at(&mut self, moment: Duration, hash: u64, now: Duration) -> bool {
        let Ok(mut entry) = self.table.find_entry(hash, |slot| slot.hash == hash && slot.looked_at == moment)
        else {
            return false;
        };
        let slot = entry.get_mut();
        if slot.expires <= now {
            entry.remove();
            return true;
        }
        slot.looked_at = slot.expires;
        self.heap.push(Reverse((slot.expires, hash)));
        false
    }

    /// A life that ends later is noticed when the heap looks; only one that ends earlier needs a new entry.
    fn expire(heap: &mut BinaryHeap<Reverse<(Duration, u64)>>, slot: &mut Slot, expires: Duration) {
        slot.expires = expires;
        if expires < slot.looked_at {
            slot.looked_at = expires;
            heap.push(Reverse((expires, slot.hash)));
        }
    }
}

//! One shard: a table of records, and a heap that finds the expired ones.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use hashbrown::HashTable;
use hashbrown::hash_table::{Entry, OccupiedEntry};

use crate::key::RecordKey;
use crate::record::{Record, State, Token};
use crate::store::{ListedKey, ListedRecord};

/// How many entries of the heap one operation looks at: with more than one, purging outpaces claiming.
pub(super) const PURGE_PER_OPERATION: usize = 2;

/// The moment of a batch.
#[derive(Debug, Clone, Copy)]
pub(super) struct BatchMoment {
    /// By the clock of leases and retention.
    pub(super) clock: Duration,
    /// By the wall clock, for fences.
    pub(super) wall_micros: u64,
}

/// A part of a listing.
pub(super) struct ShardPage {
    pub(super) records: Vec<ListedRecord>,
    /// The hash behind which it goes on; `None` at the end.
    pub(super) last: Option<u64>,
}

/// A record in the table.
pub(super) struct Slot {
    hash: u64,
    key: RecordKey,
    record: Record,
    /// When the record's life ends.
    pub(super) expires: Duration,
    /// The earliest moment at which the heap looks at this slot; never later than `expires`.
    looked_at: Duration,
}

/// When to look at which hash. An entry whose slot is gone, or is looked at by another one, is stale.
type Heap = BinaryHeap<Reverse<(Duration, u64)>>;

/// A part of the store behind one lock.
#[derive(Default)]
pub(super) struct Shard {
    /// Boxed, so that a table that grows moves pointers only.
    table: HashTable<Box<Slot>>,
    heap: Heap,
    /// The completed records, in that order, if the oldest may be forgotten: when its life ends, which does not change any more,
    /// and its hash. An entry without such a slot is stale.
    done: VecDeque<(Duration, u64)>,
}

/// The slot of a key. One search of the table serves the whole operation.
pub(super) enum ShardEntry<'a> {
    /// A record whose life is not over.
    Occupied(OccupiedSlot<'a>),
    /// None, or an expired one.
    Vacant(VacantSlot<'a>),
}

/// A record whose life is not over.
pub(super) struct OccupiedSlot<'a> {
    slot: &'a mut Slot,
    heap: &'a mut Heap,
}

/// The place for a record.
pub(super) struct VacantSlot<'a> {
    entry: Entry<'a, Box<Slot>>,
    heap: &'a mut Heap,
    hash: u64,
}

impl OccupiedSlot<'_> {
    pub(super) fn record(&self) -> &Record {
        &self.slot.record
    }

    /// Changes the record, and when its life ends.
    pub(super) fn change(&mut self, expires: Duration, change: impl FnOnce(&mut Record)) {
        change(&mut self.slot.record);
        self.slot.expire(expires, self.heap);
    }
}

impl VacantSlot<'_> {
    /// Puts a record there. `room` is asked where the table grows; the answer is whether there was room.
    pub(super) fn put(
        self,
        key: &RecordKey,
        record: Record,
        expires: Duration,
        room: impl FnOnce() -> bool,
    ) -> bool {
        match self.entry {
            Entry::Occupied(mut old) => {
                let slot = old.get_mut();
                slot.record = record;
                slot.expire(expires, self.heap);
                true
            }
            Entry::Vacant(_) if !room() => false,
            Entry::Vacant(vacant) => {
                let slot = Slot { hash: self.hash, key: key.clone(), record, expires, looked_at: expires };
                vacant.insert(Box::new(slot));
                self.heap.push(Reverse((expires, self.hash)));
                true
            }
        }
    }
}

impl Slot {
    /// The record, and when its life ends.
    #[cfg(feature = "conformance")]
    pub(super) fn into_parts(self) -> (Record, Duration) {
        (self.record, self.expires)
    }

    fn listed(&self, now: BatchMoment) -> ListedRecord {
        let remaining = match self.record.state {
            State::InProgress => self.record.lease_end.saturating_sub(now.clock),
            State::Completed | State::Released => Duration::ZERO,
        };
        ListedRecord {
            key: ListedKey::Whole(self.key.clone()),
            record: Ok(self.record.clone()),
            remaining,
            now: Duration::from_micros(now.wall_micros),
        }
    }

    /// A life that ends later is noticed when the heap looks; only one that ends earlier needs a new entry.
    fn expire(&mut self, expires: Duration, heap: &mut Heap) {
        self.expires = expires;
        if expires < self.looked_at {
            self.looked_at = expires;
            heap.push(Reverse((expires, self.hash)));
        }
    }
}

impl Shard {
    pub(super) fn place(&mut self, hash: u64, key: &RecordKey, now: Duration) -> ShardEntry<'_> {
        let heap = &mut self.heap;
        match self.table.entry(hash, |slot| slot.key == *key, |slot| slot.hash) {
            Entry::Occupied(held) if held.get().expires > now => {
                ShardEntry::Occupied(OccupiedSlot { slot: held.into_mut(), heap })
            }
            entry => ShardEntry::Vacant(VacantSlot { entry, heap, hash }),
        }
    }

    /// The record of a key whose life is not over.
    pub(super) fn read(&self, hash: u64, key: &RecordKey, now: Duration) -> Option<&Record> {
        let slot = self.table.find(hash, |slot| slot.key == *key)?;
        (slot.expires > now).then_some(&slot.record)
    }

    /// When the life of what was completed first ends.
    pub(super) fn oldest_completed(&mut self) -> Option<Duration> {
        while let Some(&(expires, hash)) = self.done.front() {
            if self.find_completed(expires, hash).is_some() {
                return Some(expires);
            }
            self.done.pop_front();
        }
        None
    }

    /// Notes that a key is completed, so that it can be forgotten when it is the oldest.
    pub(super) fn completed(&mut self, hash: u64, key: &RecordKey) {
        // Stale entries go, so that this is no longer than the table for long.
        self.oldest_completed();
        if let Some(slot) = self.table.find(hash, |slot| slot.key == *key) {
            self.done.push_back((slot.expires, hash));
        }
    }

    /// Takes out what was completed first. Whether there was anything.
    pub(super) fn forget_oldest(&mut self) -> bool {
        while let Some((expires, hash)) = self.done.pop_front() {
            if let Some(entry) = self.find_completed(expires, hash) {
                entry.remove();
                return true;
            }
        }
        false
    }

    fn find_completed(&mut self, expires: Duration, hash: u64) -> Option<OccupiedEntry<'_, Box<Slot>>> {
        let found = self.table.find_entry(hash, |slot| {
            slot.hash == hash && slot.expires == expires && slot.record.state == State::Completed
        });
        found.ok()
    }

    /// Takes a record out, if its last claim is that one where one is said.
    pub(super) fn remove(&mut self, hash: u64, key: &RecordKey, claim: Option<Token>) -> Option<Box<Slot>> {
        let entry = self.table.find_entry(hash, |slot| slot.key == *key).ok()?;
        claim.is_none_or(|claim| entry.get().record.token == claim).then(|| entry.remove().0)
    }

    /// The record of a key, as a listing shows it.
    pub(super) fn listed(&self, key: &RecordKey, now: BatchMoment) -> Option<ListedRecord> {
        let slot = self.table.find(key.hash64(), |slot| slot.key == *key)?;
        (slot.expires > now.clock).then(|| slot.listed(now))
    }

    /// The records that have the next hashes behind one, as many as `most`, and all of the last of these hashes.
    pub(super) fn list(&self, after: Option<u64>, most: usize, now: BatchMoment) -> ShardPage {
        let is_next = |slot: &&Slot| slot.expires > now.clock && after.is_none_or(|after| slot.hash > after);
        let mut slots: Vec<&Slot> = self.table.iter().map(|slot| &**slot).filter(is_next).collect();
        let mut last = None;
        if slots.len() > most {
            let (_, at, _) = slots.select_nth_unstable_by_key(most.saturating_sub(1), |slot| slot.hash);
            let hash = at.hash;
            slots.retain(|slot| slot.hash <= hash);
            last = Some(hash);
        }
        ShardPage { records: slots.into_iter().map(|slot| slot.listed(now)).collect(), last }
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
}

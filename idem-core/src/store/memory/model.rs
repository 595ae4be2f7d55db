//! The memory store's rules over one record, for a model checker: the code that runs in production, on a state that can be copied.

use std::time::Duration;

use super::rules;
use super::shard::{BatchMoment, Shard, ShardEntry};
use crate::key::RecordKey;
use crate::record::Record;
use crate::store::{Answer, Claim, ClaimRequest, CompleteRequest, ReleaseRequest, RenewRequest};

/// The place of one key in a store: its record and when that one's life ends, if there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordPlace {
    key: RecordKey,
    record: Option<(Record, Duration)>,
}

impl RecordPlace {
    /// A place as it was left.
    pub fn new(key: RecordKey, record: Option<(Record, Duration)>) -> Self {
        Self { key, record }
    }

    /// The record that is left, expired or not.
    pub fn into_record(self) -> Option<(Record, Duration)> {
        self.record
    }

    /// As [`Store::claim`](crate::Store::claim); `now` is the clock of leases and of fences.
    pub fn claim(&mut self, now: Duration, request: &ClaimRequest) -> Claim {
        let answer = self.step(now, |place, now| rules::claim(place, request, now, || true));
        answer.unwrap_or_else(|| unreachable!("there is room"))
    }

    /// As [`Store::renew`](crate::Store::renew).
    pub fn renew(&mut self, now: Duration, request: &RenewRequest) -> Answer {
        self.step(now, |place, now| rules::renew(place, request, now))
    }

    /// As [`Store::complete`](crate::Store::complete).
    pub fn complete(&mut self, now: Duration, request: &CompleteRequest) -> Answer {
        let answer = self.step(now, |place, now| rules::complete(place, request, now, || true));
        answer.unwrap_or_else(|| unreachable!("there is room"))
    }

    /// As [`Store::release`](crate::Store::release).
    pub fn release(&mut self, now: Duration, request: &ReleaseRequest) -> Answer {
        self.step(now, |place, now| rules::release(place, request, now))
    }

    fn step<T>(&mut self, now: Duration, rule: impl FnOnce(ShardEntry<'_>, BatchMoment) -> T) -> T {
        let (mut shard, hash) = (Shard::default(), self.key.hash64());
        if let Some((record, expires)) = self.record.take()
            && let ShardEntry::Vacant(place) = shard.place(hash, &self.key, Duration::ZERO)
        {
            place.put(&self.key, record, expires, || true);
        }
        let wall_micros = u64::try_from(now.as_micros()).unwrap_or(u64::MAX);
        let answer = rule(shard.place(hash, &self.key, now), BatchMoment { clock: now, wall_micros });
        self.record = shard.remove(hash, &self.key, None).map(|slot| (*slot).into_parts());
        answer
    }
}

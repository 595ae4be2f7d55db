//! What each operation does to a record: the contract of [`Store`](crate::Store), for one shard.

use std::time::Duration;

use super::shard::{Now, Shard};
use crate::key::RecordKey;
use crate::record::{Fence, Record, State, Token};
use crate::store::{Answer, Attempts, Claim, ClaimRequest, CompleteRequest, ReleaseRequest, RenewRequest};

/// `None` where there is no room for a new record.
pub(super) fn claim(
    shard: &mut Shard,
    hash: u64,
    request: &ClaimRequest,
    now: Now,
    room: impl FnOnce() -> bool,
) -> Option<Claim> {
    let lease_end = now.clock.saturating_add(request.lease);
    let expires = lease_end.saturating_add(request.retention);
    let Some(slot) = shard.valid(hash, &request.key, now.clock) else {
        let fence = Fence(now.wall_micros);
        let record = Record {
            state: State::InProgress,
            token: request.token,
            fence,
            attempts: 0,
            lease_end,
            fingerprint: request.fingerprint,
            reply: None,
        };
        return shard
            .put(hash, &request.key, record, expires, room)
            .then_some(Claim::Claimed { fence, attempt: 1 });
    };
    let record = &slot.record;
    let own = record.token == request.token;
    let remaining = match record.state {
        State::Completed => {
            return Some(Claim::Completed { fingerprint: record.fingerprint, reply: record.reply.clone() });
        }
        State::InProgress => record.lease_end.saturating_sub(now.clock),
        State::Released => Duration::ZERO,
    };
    let held_by_another = !own && !remaining.is_zero();
    let late_copy = own && record.state == State::Released;
    if held_by_another || late_copy {
        return Some(Claim::InProgress { remaining, fingerprint: record.fingerprint });
    }
    let fence = if own { record.fence } else { Fence(now.wall_micros.max(record.fence.0.saturating_add(1))) };
    let fingerprint = if own { record.fingerprint } else { request.fingerprint };
    let attempt = record.attempts.saturating_add(1);
    shard.change(hash, &request.key, expires, |record| {
        record.state = State::InProgress;
        record.token = request.token;
        record.fence = fence;
        record.lease_end = lease_end;
        record.fingerprint = fingerprint;
    });
    Some(Claim::Claimed { fence, attempt })
}

pub(super) fn renew(shard: &mut Shard, hash: u64, request: &RenewRequest, now: Now) -> Answer {
    match standing(shard, hash, &request.key, request.token, now) {
        Standing::Holder => {
            let lease_end = now.clock.saturating_add(request.lease);
            let expires = lease_end.saturating_add(request.retention);
            shard.change(hash, &request.key, expires, |record| record.lease_end = lease_end);
            Answer::Done
        }
        Standing::Absent | Standing::Own(_) | Standing::Another => Answer::Lost,
    }
}

/// `None` where there is no room for a new record.
pub(super) fn complete(
    shard: &mut Shard,
    hash: u64,
    request: &CompleteRequest,
    now: Now,
    room: impl FnOnce() -> bool,
) -> Option<Answer> {
    let expires = now.clock.saturating_add(request.retention);
    match standing(shard, hash, &request.key, request.token, now) {
        Standing::Holder => {
            shard.change(hash, &request.key, expires, |record| {
                record.state = State::Completed;
                record.reply.clone_from(&request.reply);
            });
            Some(Answer::Done)
        }
        Standing::Absent => {
            let record = Record {
                state: State::Completed,
                token: request.token,
                fence: request.fence,
                attempts: 0,
                lease_end: Duration::ZERO,
                fingerprint: request.fingerprint,
                reply: request.reply.clone(),
            };
            shard.put(hash, &request.key, record, expires, room).then_some(Answer::Done)
        }
        Standing::Own(State::Completed) => Some(Answer::Done),
        Standing::Own(_) | Standing::Another => Some(Answer::Lost),
    }
}

pub(super) fn release(shard: &mut Shard, hash: u64, request: &ReleaseRequest, now: Now) -> Answer {
    match standing(shard, hash, &request.key, request.token, now) {
        Standing::Holder => {
            let expires = now.clock.saturating_add(request.retention);
            shard.change(hash, &request.key, expires, |record| {
                record.state = State::Released;
                record.attempts = match request.attempts {
                    Attempts::Keep => record.attempts,
                    Attempts::Count => record.attempts.saturating_add(1),
                    Attempts::Reset => 0,
                };
            });
            Answer::Done
        }
        Standing::Own(State::Released) => Answer::Done,
        Standing::Absent | Standing::Own(_) | Standing::Another => Answer::Lost,
    }
}

/// What a token is to a key.
enum Standing {
    /// There is no record.
    Absent,
    /// It holds the lease, or held it until it ran out and nobody has claimed since.
    Holder,
    /// It is the last claim's, and that claim is over in this state.
    Own(State),
    /// Another claim came later.
    Another,
}

fn standing(shard: &mut Shard, hash: u64, key: &RecordKey, token: Token, now: Now) -> Standing {
    match shard.valid(hash, key, now.clock).map(|slot| &slot.record) {
        None => Standing::Absent,
        Some(record) if record.token != token => Standing::Another,
        Some(record) if record.state == State::InProgress => Standing::Holder,
        Some(record) => Standing::Own(record.state),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{IdempotencyKey, Namespace};

    #[test]
    fn fences_grow_when_the_wall_clock_stands_still_or_steps_back() {
        let mut shard = Shard::default();
        let key = RecordKey::new(Namespace::new(["test"]), IdempotencyKey::new("key").unwrap());
        let hash = key.hash64();
        let (lease, retention) = (Duration::from_secs(1), Duration::from_mins(1));
        let fences = [9, 9, 3, 20].into_iter().zip(0..).map(|(wall_micros, turn)| {
            let now = Now { clock: Duration::from_secs(2 * turn), wall_micros };
            let token = Token::random();
            let request = ClaimRequest { key: key.clone(), token, lease, retention, fingerprint: None };
            match claim(&mut shard, hash, &request, now, || true) {
                Some(Claim::Claimed { fence, .. }) => fence.0,
                other => panic!("{other:?}"),
            }
        });
        assert_eq!(fences.collect::<Vec<_>>(), [9, 10, 11, 20]);
    }
}

//! The effect of each operation on a record: the contract of [`Store`](crate::Store), for one shard.

use std::time::Duration;

use super::shard::{BatchMoment, OccupiedSlot, ShardEntry, VacantSlot};
use crate::doubt::{Doubt, DoubtCause};
use crate::record::{Fence, Record, State, Token};
use crate::store::{Answer, Attempts, Claim, ClaimRequest, CompleteRequest, ReleaseRequest, RenewRequest};

/// `None` where there is no room for a new record.
pub(super) fn claim(
    place: ShardEntry<'_>,
    request: &ClaimRequest,
    now: BatchMoment,
    room: impl FnOnce() -> bool,
) -> Option<Claim> {
    let lease_end = now.clock.saturating_add(request.lease);
    let expires = lease_end.saturating_add(request.retention);
    let mut held = match place {
        ShardEntry::Occupied(held) => held,
        ShardEntry::Vacant(free) => {
            let fence = Fence(now.wall_micros);
            let record = fresh(request, fence, lease_end);
            let put = free.put(&request.key, record, expires, room);
            return put.then_some(Claim::Claimed { fence, attempt: 1, after: None });
        }
    };
    let record = held.record();
    if let Some(refusal) = refusal(record, request.token, now) {
        return Some(refusal);
    }
    let own = record.token == request.token;
    let next = Fence(now.wall_micros.max(record.fence.0.saturating_add(1)));
    let (fence, fingerprint) =
        if own { (record.fence, record.fingerprint) } else { (next, request.fingerprint) };
    let attempt = record.attempts.saturating_add(1);
    let after = record.doubt.or_else(|| if own { None } else { vanished(record) });
    held.change(expires, |record| {
        record.state = State::InProgress;
        record.token = request.token;
        record.fence = fence;
        record.lease_end = lease_end;
        record.member = request.member;
        record.doubt = after;
        record.fingerprint = fingerprint;
        record.message = request.message;
    });
    Some(Claim::Claimed { fence, attempt, after })
}

/// The doubt that a run leaves whose lease has run out.
fn vanished(record: &Record) -> Option<Doubt> {
    (record.state == State::InProgress).then(|| Doubt {
        cause: DoubtCause::Vanished,
        fence: record.fence,
        attempt: record.attempts.saturating_add(1),
        member: record.member,
    })
}

/// Why a record cannot be claimed, if so.
fn refusal(record: &Record, token: Token, now: BatchMoment) -> Option<Claim> {
    let own = record.token == token;
    let remaining = match record.state {
        State::Completed => {
            return Some(Claim::Completed { fingerprint: record.fingerprint, reply: record.reply.clone() });
        }
        State::InProgress => record.lease_end.saturating_sub(now.clock),
        State::Released => Duration::ZERO,
    };
    let held_by_another = !own && !remaining.is_zero();
    let late_copy = own && record.state == State::Released;
    (held_by_another || late_copy).then_some(Claim::InProgress { remaining, fingerprint: record.fingerprint })
}

fn fresh(request: &ClaimRequest, fence: Fence, lease_end: Duration) -> Record {
    Record {
        state: State::InProgress,
        token: request.token,
        fence,
        attempts: 0,
        lease_end,
        member: request.member,
        doubt: None,
        last: None,
        fingerprint: request.fingerprint,
        message: request.message,
        reply: None,
    }
}

pub(super) fn renew(place: ShardEntry<'_>, request: &RenewRequest, now: BatchMoment) -> Answer {
    match standing(place, request.token) {
        TokenStanding::Holder(mut held) => {
            let is_named = |fence| held.record().doubt.is_none_or(|doubt| doubt.fence == fence);
            if !request.ends_doubt.is_none_or(is_named) {
                return Answer::Lost;
            }
            let lease_end = now.clock.saturating_add(request.lease);
            let expires = lease_end.saturating_add(request.retention);
            held.change(expires, |record| {
                record.lease_end = lease_end;
                record.doubt = record.doubt.filter(|_| request.ends_doubt.is_none());
            });
            Answer::Done
        }
        TokenStanding::Absent(_) | TokenStanding::Own(_) | TokenStanding::Another => Answer::Lost,
    }
}

/// `None` where there is no room for a new record.
pub(super) fn complete(
    place: ShardEntry<'_>,
    request: &CompleteRequest,
    now: BatchMoment,
    room: impl FnOnce() -> bool,
) -> Option<Answer> {
    let expires = now.clock.saturating_add(request.retention);
    match standing(place, request.token) {
        TokenStanding::Holder(mut held) => {
            held.change(expires, |record| {
                record.state = State::Completed;
                (record.doubt, record.last) = (None, None);
                record.reply.clone_from(&request.reply);
            });
            Some(Answer::Done)
        }
        TokenStanding::Absent(free) => {
            let record = Record {
                state: State::Completed,
                token: request.token,
                fence: request.fence,
                attempts: 0,
                lease_end: Duration::ZERO,
                member: request.member,
                doubt: None,
                last: None,
                fingerprint: request.fingerprint,
                message: request.message,
                reply: request.reply.clone(),
            };
            free.put(&request.key, record, expires, room).then_some(Answer::Done)
        }
        TokenStanding::Own(State::Completed) => Some(Answer::Done),
        TokenStanding::Own(_) | TokenStanding::Another => Some(Answer::Lost),
    }
}

pub(super) fn release(place: ShardEntry<'_>, request: &ReleaseRequest, now: BatchMoment) -> Answer {
    match standing(place, request.token) {
        TokenStanding::Holder(mut held) => {
            let expires = now.clock.saturating_add(request.retention);
            held.change(expires, |record| {
                record.state = State::Released;
                record.attempts = match request.attempts {
                    Attempts::Keep => record.attempts,
                    Attempts::Count => record.attempts.saturating_add(1),
                    Attempts::Reset => 0,
                };
                record.doubt = request.doubt.or(record.doubt);
                if request.last.is_some() {
                    record.last.clone_from(&request.last);
                }
            });
            Answer::Done
        }
        TokenStanding::Own(State::Released) => Answer::Done,
        TokenStanding::Absent(_) | TokenStanding::Own(_) | TokenStanding::Another => Answer::Lost,
    }
}

/// The relation of a token to a key.
enum TokenStanding<'a> {
    /// There is no record.
    Absent(VacantSlot<'a>),
    /// It holds the lease, or held it until it ran out and nobody has claimed since.
    Holder(OccupiedSlot<'a>),
    /// It is the last claim's, and that claim is over in this state.
    Own(State),
    /// Another claim came later.
    Another,
}

fn standing(place: ShardEntry<'_>, token: Token) -> TokenStanding<'_> {
    match place {
        ShardEntry::Vacant(free) => TokenStanding::Absent(free),
        ShardEntry::Occupied(held) if held.record().token != token => TokenStanding::Another,
        ShardEntry::Occupied(held) if held.record().state == State::InProgress => TokenStanding::Holder(held),
        ShardEntry::Occupied(held) => TokenStanding::Own(held.record().state),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doubt::MemberId;
    use crate::key::{IdempotencyKey, Namespace, RecordKey};
    use crate::store::memory::shard::Shard;

    #[test]
    fn fences_grow_when_the_wall_clock_stands_still_or_steps_back() {
        let mut shard = Shard::default();
        let key = RecordKey::new(Namespace::new(["test"]), IdempotencyKey::new("key").unwrap());
        let hash = key.hash64();
        let (lease, retention) = (Duration::from_secs(1), Duration::from_mins(1));
        let fences = [9, 9, 3, 20].into_iter().zip(0..).map(|(wall_micros, turn)| {
            let now = BatchMoment { clock: Duration::from_secs(2 * turn), wall_micros };
            let token = Token::random();
            let request = ClaimRequest::new(key.clone(), token, lease, retention, MemberId::random());
            match claim(shard.place(hash, &key, now.clock), &request, now, || true) {
                Some(Claim::Claimed { fence, .. }) => fence.0,
                other => panic!("{other:?}"),
            }
        });
        assert_eq!(fences.collect::<Vec<_>>(), [9, 10, 11, 20]);
    }
}

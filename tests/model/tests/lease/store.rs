//! The store: the rules of the one in memory, and what is watched of their answers.

use std::time::Duration;

use idem_core::store::{
    Answer, Attempts, Claim, ClaimRequest, CompleteRequest, ReleaseRequest, RenewRequest,
};
use idem_core::{Doubt, DoubtCause, Fence, MemberId, State};

use super::world::{Counting, LEASE, Reply, Request, Tick, World, key, token};

/// Has the store's rules answer, and watches them.
pub(crate) fn ask(world: &mut World, request: Request) -> Reply {
    let (before, now) = (world.record(), time(world.now));
    let mut place = world.place();
    let mut granted = None;
    let (reply, asked) = match request {
        Request::Claim { token } => {
            let claim = place.claim(now, &claim_request(token));
            if let Claim::Claimed { fence, .. } = &claim {
                granted = Some(fence.0);
            }
            (claimed(claim), token)
        }
        Request::Renew { token, ends_doubt } => {
            (done(place.renew(now, &renew_request(token, ends_doubt))), token)
        }
        Request::Complete { token } => (done(place.complete(now, &complete_request(token))), token),
        Request::Release { token, attempts, doubt } => {
            (done(place.release(now, &release_request(token, attempts, doubt))), token)
        }
    };
    world.put(place);
    let held_by_another = before.as_ref().is_some_and(|record| {
        let is_live = record.state == State::InProgress && record.lease_end > now;
        record.token != token(asked) && (is_live || record.state == State::Completed)
    });
    match (request, granted) {
        (Request::Claim { .. }, Some(fence)) => {
            world.broken.bad_start |= held_by_another;
            let (newest, of) = world.newest;
            if of != asked {
                world.broken.fence |= fence <= newest;
                world.newest = (fence, asked);
            }
        }
        (Request::Claim { .. }, _) => world.broken.stale_token |= before != world.record(),
        _ => {
            // A claim that is over, or another's.
            let is_stale = before
                .as_ref()
                .is_some_and(|record| record.token != token(asked) || record.state != State::InProgress);
            world.broken.stale_token |= is_stale && before != world.record();
        }
    }
    reply
}

pub(crate) fn time(tick: Tick) -> Duration {
    Duration::from_secs(tick.into())
}

const RETENTION: Duration = Duration::from_hours(1);
const NOBODY: MemberId = MemberId::from_bytes([0; 8]);

fn claim_request(number: u8) -> ClaimRequest {
    ClaimRequest::new(key(), token(number), time(LEASE), RETENTION, NOBODY)
}

fn renew_request(number: u8, ends_doubt: Option<u64>) -> RenewRequest {
    let ends_doubt = ends_doubt.map(Fence);
    RenewRequest { key: key(), token: token(number), lease: time(LEASE), retention: RETENTION, ends_doubt }
}

fn complete_request(number: u8) -> CompleteRequest {
    CompleteRequest::new(key(), token(number), Fence(1), RETENTION, NOBODY)
}

fn release_request(number: u8, attempts: Counting, doubt: Option<u64>) -> ReleaseRequest {
    let attempts = match attempts {
        Counting::Keep => Attempts::Keep,
        Counting::Count => Attempts::Count,
        Counting::Reset => Attempts::Reset,
    };
    ReleaseRequest {
        doubt: doubt.map(a_doubt),
        ..ReleaseRequest::new(key(), token(number), RETENTION, attempts)
    }
}

pub(crate) fn a_doubt(fence: u64) -> Doubt {
    Doubt { cause: DoubtCause::Panicked, fence: Fence(fence), attempt: 1, member: NOBODY }
}

fn claimed(claim: Claim) -> Reply {
    match claim {
        Claim::Claimed { fence, attempt, after } => {
            Reply::Claimed { attempt, fence: fence.0, doubt: after.map(|doubt| doubt.fence.0) }
        }
        Claim::InProgress { remaining, .. } => {
            Reply::InProgress { remaining: Tick::try_from(remaining.as_secs()).unwrap_or(Tick::MAX) }
        }
        Claim::Completed { .. } => Reply::Completed,
    }
}

const fn done(answer: Answer) -> Reply {
    match answer {
        Answer::Done => Reply::Done,
        Answer::Lost => Reply::Lost,
    }
}

//! The first message of its key in this process.

use std::fmt;
use std::sync::Arc;

use super::Done;
use crate::doubt::DoubtCause;
use crate::engine::verdict::Arrival;
use crate::engine::{Gate, Job};
use crate::lease::{Flight, FlightEnd, Phase};
use crate::outcome::Decision;
use crate::record::LastRun;
use crate::store::{Attempts, ClaimRequest, ReleaseRequest};

/// The first message of its key in this process. Dropping it gives the key back.
pub struct Leader {
    pub(in crate::engine) gate: Gate,
    pub(in crate::engine) flight: Arc<Flight>,
    redeliveries: u32,
    failures: u32,
    /// Whether the store may hold a lease for this flight that nobody has given back.
    pub(in crate::engine) is_claimed: bool,
    /// The effect on the number of attempts if the key is given back.
    pub(in crate::engine) attempts: Attempts,
    /// The doubt that the run has left, if it is given back after one.
    pub(in crate::engine) doubt: Option<DoubtCause>,
    /// The end of that run.
    pub(in crate::engine) last: Option<Box<LastRun>>,
    is_over: bool,
}

impl Leader {
    pub(in crate::engine) fn new(gate: Gate, flight: Arc<Flight>, job: &Job) -> Self {
        Self {
            gate,
            flight,
            redeliveries: job.redeliveries,
            failures: job.failures,
            is_claimed: false,
            attempts: Attempts::Keep,
            doubt: None,
            last: None,
            is_over: false,
        }
    }

    /// The part of the message that its verdict depends on.
    pub(in crate::engine) fn message(&self) -> Arrival {
        let Self { redeliveries, failures, .. } = *self;
        Arrival { fingerprint: self.flight.fingerprint, redeliveries, failures }
    }

    /// Ends the flight: whoever waits for this key takes `decision` too.
    pub(in crate::engine) fn decide(mut self, decision: Decision) -> Decision {
        self.end(FlightEnd::Decided(decision.clone()));
        decision
    }

    /// Ends the flight without a verdict for others.
    pub(in crate::engine) fn abandon(mut self) {
        self.end(FlightEnd::Abandoned);
    }

    /// Ends the flight at once, and gives back later what its claim may have taken.
    pub(in crate::engine) fn end_now(mut self, end: FlightEnd) {
        let unseen = self.is_claimed.then(|| self.successor());
        self.end(end);
        if let Some(unseen) = unseen {
            unseen.give_back();
        }
    }

    pub(in crate::engine) fn claim_request(&mut self) -> ClaimRequest {
        // From here on the store may hold a lease for this flight. The return of a run before this claim counts
        // no more.
        self.is_claimed = true;
        self.attempts = Attempts::Keep;
        self.flight.forget_return();
        let policy = self.gate.policy();
        ClaimRequest {
            key: self.flight.key.clone().expect("a leader's flight has a key"),
            token: self.flight.token,
            lease: policy.lease,
            retention: policy.retention,
            fingerprint: self.flight.fingerprint,
            member: self.gate.0.engine.member,
            message: self.flight.message,
        }
    }

    pub(in crate::engine) fn release_request(&self, attempts: Attempts) -> Option<ReleaseRequest> {
        Some(ReleaseRequest {
            key: self.flight.key.clone()?,
            token: self.flight.token,
            retention: self.gate.policy().retention,
            attempts,
            doubt: self.doubt.map(|cause| self.flight.doubt_left(cause, self.gate.0.engine.member)),
            last: self.last.as_deref().cloned(),
        })
    }

    fn end(&mut self, end: FlightEnd) {
        self.is_over = true;
        self.gate.0.engine.flights.leave(&self.flight);
        self.flight.finish(end);
    }

    /// The leader that goes on with the flight when this one is dropped. It owes the store nothing.
    fn successor(&self) -> Self {
        Self {
            gate: self.gate.clone(),
            flight: self.flight.clone(),
            is_claimed: false,
            is_over: false,
            last: self.last.clone(),
            ..*self
        }
    }

    /// Gives the key back, on idem's own runtime, and ends the flight when the store has answered: messages of the key
    /// that come before would find it in progress.
    fn give_back(self) {
        let engine = self.gate.0.engine.clone();
        let releases = engine.releases.clone();
        engine.settling(async move {
            if let Some(request) = self.release_request(self.attempts) {
                // Where the store does not answer, the lease runs out by itself.
                let _ = releases.ask(&self.flight, request).await;
            }
            self.abandon();
        });
    }
}

/// Invariant: a dropped run leaves nothing in progress for longer than the lease
/// (`a_dropped_run_gives_its_key_back`). Invariant 8: what is dropped behind an `Ok` is completed
/// (`invariant_8_what_is_dropped_behind_an_ok_is_completed`).
impl Drop for Leader {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        self.gate.0.engine.watch.remove(&self.flight);
        if !self.is_claimed {
            return self.end(FlightEnd::Abandoned);
        }
        self.is_over = true;
        let mut successor = self.successor();
        if self.flight.has_returned() {
            drop(Done::of(successor));
        } else {
            if self.last.is_none() && self.flight.phase() == Phase::Running {
                successor.doubt = Some(DoubtCause::Dropped);
            }
            successor.give_back();
        }
    }
}

impl fmt::Debug for Leader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leader").field("key", &self.flight.key).finish_non_exhaustive()
    }
}

//! A run that is over.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;

use super::{Done, HeldKey, Leader, Settled};
use crate::doubt::DoubtCause;
use crate::engine::Gate;
use crate::engine::verdict::{self, Arrival, RunEnd, Settlement};
use crate::handler_error::Disposition;
use crate::lease::{Flight, Phase, Stop};
use crate::outcome::{Decision, Verdict};
use crate::store::{Answer, CompleteRequest, ReleaseRequest, StoreError};

/// A run that is over and has not been settled.
///
/// Dropping it completes its key where the handler has returned `Ok`, on idem's own runtime, and else gives it back: with one
/// attempt more where the run has failed and it was not the last one.
pub struct Finished {
    pub(in crate::engine) gate: Gate,
    pub(in crate::engine) attempt: u32,
    pub(in crate::engine) ending: Ending,
    /// The doubt that the run leaves.
    pub(in crate::engine) doubt: Option<DoubtCause>,
    pub(in crate::engine) took: Option<Duration>,
}

/// The remainder of a run.
pub(in crate::engine) enum Ending {
    /// The handler has returned `Ok`, and its key is to be completed.
    Done(Done),
    /// Any other end, or one without a lease.
    Other(Option<Leader>, RunResult),
}

/// How a run came out.
#[derive(Debug)]
pub(in crate::engine) enum RunResult {
    Ended(RunEnd),
    /// Its transaction has decided it, and there is nothing to settle.
    Decided(Decision),
    /// The transaction that it shared was undone: it is to be run again alone, with this permit.
    Undone(OwnedSemaphorePermit),
}

impl RunResult {
    pub(in crate::engine) const OK: Self = Self::Ended(RunEnd::Ok);
    pub(in crate::engine) const PANICKED: Self = Self::Ended(RunEnd::Panicked);
    pub(in crate::engine) const SHUTDOWN: Self = Self::Ended(RunEnd::Shutdown);

    pub(in crate::engine) const fn is_ok(&self) -> bool {
        matches!(self, Self::Ended(RunEnd::Ok))
    }

    pub(in crate::engine) const fn is_shutdown(&self) -> bool {
        matches!(self, Self::Ended(RunEnd::Shutdown))
    }
}

impl From<Stop> for RunResult {
    fn from(stop: Stop) -> Self {
        Self::Ended(match stop {
            Stop::Lost => RunEnd::LeaseLost,
            Stop::TimedOut => RunEnd::TimedOut,
        })
    }
}

impl Finished {
    /// How long the handler ran, from its first poll; `None` where it was never polled.
    pub fn took(&self) -> Option<Duration> {
        self.took
    }

    pub(in crate::engine) fn new(
        gate: Gate,
        leader: Option<Leader>,
        flight: &Arc<Flight>,
        attempt: u32,
        took: Option<Duration>,
        ran: RunResult,
    ) -> Self {
        let ending = match (leader, ran) {
            (Some(leader), RunResult::Ended(RunEnd::Ok)) if leader.is_claimed => {
                Ending::Done(Done::of(leader))
            }
            (leader, ran) => Ending::Other(leader, ran),
        };
        let doubt = match &ending {
            Ending::Other(_, RunResult::Ended(end)) => verdict::doubt(end, flight.phase() == Phase::Running),
            Ending::Other(..) | Ending::Done(_) => None,
        };
        let mut finished = Self { gate, attempt, ending, doubt, took };
        let settlement = finished.settlement();
        let Gate(gate) = &finished.gate;
        if settlement == Some(Settlement::Hold) {
            gate.engine.watch.hold(flight, &gate.policy, gate.engine.clock.now());
        } else {
            gate.engine.watch.remove(flight);
        }
        if let (Some(settlement), Ending::Other(Some(leader), RunResult::Ended(end))) =
            (settlement, &mut finished.ending)
        {
            if let Settlement::Release(attempts) = settlement {
                leader.attempts = attempts;
            }
            leader.doubt = doubt;
            leader.last = verdict::last_run(end).map(Box::new);
        }
        finished
    }

    /// The settlement to ask the store for. `None` if the run was without dedup, or its transaction has settled it.
    pub(in crate::engine) fn settlement(&self) -> Option<Settlement> {
        match &self.ending {
            Ending::Done(_) => Some(Settlement::Complete),
            Ending::Other(Some(leader), RunResult::Ended(end)) if leader.is_claimed => {
                Some(verdict::settlement(self.gate.policy(), self.attempt, end, self.doubt))
            }
            Ending::Other(..) => None,
        }
    }

    /// The request to complete the key, if it is to be completed.
    pub(in crate::engine) fn completion(&self) -> Option<(&Arc<Flight>, CompleteRequest)> {
        let Ending::Done(done) = &self.ending else { return None };
        Some((done.flight(), done.request(&self.gate)?))
    }

    /// The request to release the key, if it is to be released.
    pub(in crate::engine) fn release(&self) -> Option<(&Arc<Flight>, ReleaseRequest)> {
        let (Some(Settlement::Release(_)), Ending::Other(Some(leader), _)) =
            (self.settlement(), &self.ending)
        else {
            return None;
        };
        Some((&leader.flight, leader.release_request(leader.attempts)?))
    }

    /// Concludes a run that needs no answer of the store.
    pub(in crate::engine) fn concluded_alone(self) -> Settled {
        match &self.ending {
            Ending::Other(_, ran) => {
                let decision = self.decide(ran);
                self.concluded(decision)
            }
            // Dropped, it is completed.
            Ending::Done(_) => Settled::leave(),
        }
    }

    /// The decision, where the store's first answer is all that it needs.
    pub(in crate::engine) fn decided_by(
        &self,
        first: Option<&Result<Answer, StoreError>>,
    ) -> Option<Decision> {
        match (&self.ending, self.settlement(), first) {
            (Ending::Done(done), _, Some(Ok(Answer::Done))) => {
                let (policy, message) = (self.gate.policy(), done.message());
                Some(verdict::completion(policy, &message, self.attempt, done.recorded(), false))
            }
            (Ending::Other(_, ran), None | Some(Settlement::Hold), _)
            | (Ending::Other(_, ran), Some(Settlement::Release(_)), Some(Ok(_))) => Some(self.decide(ran)),
            _ => None,
        }
    }

    pub(in crate::engine) fn concluded(self, decision: Decision) -> Settled {
        let is_held = decision.verdict == Verdict::DeadLetter;
        match self.ending {
            Ending::Done(done) => Settled::of(done.decide(decision)),
            Ending::Other(None, _) => Settled::of(decision),
            Ending::Other(Some(leader), _) if is_held => {
                Settled { decision, held: Some(HeldKey::new(leader)) }
            }
            Ending::Other(Some(leader), _) if verdict::is_shared(&decision) => {
                Settled::of(leader.decide(decision))
            }
            Ending::Other(Some(leader), _) => {
                leader.abandon();
                Settled::of(decision)
            }
        }
    }

    /// The decision that needs no answer of the store.
    fn decide(&self, ran: &RunResult) -> Decision {
        let (policy, message) = (self.gate.policy(), self.message());
        match ran {
            RunResult::Ended(end) => verdict::ended(policy, &message, self.attempt, end, self.doubt),
            RunResult::Decided(decision) => decision.clone().attempt(self.attempt),
            RunResult::Undone(_) => verdict::rolled_back(policy, &message, UNDONE).attempt(self.attempt),
        }
    }

    fn message(&self) -> Arrival {
        match &self.ending {
            Ending::Done(done) => done.message(),
            Ending::Other(leader, _) => leader.as_ref().map(Leader::message).unwrap_or_default(),
        }
    }
}

const UNDONE: &str = "the transaction that it shared with other messages was undone";

/// A handler that has returned Ok, although its statements had no effect.
pub(in crate::engine) fn kept_nothing(error: &StoreError) -> RunResult {
    let reason = format!("nothing of the handler's transaction was kept: {error}").into();
    RunResult::Ended(RunEnd::Failed { disposition: Disposition::Retry(None), is_uncertain: false, reason })
}

impl fmt::Debug for Finished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Finished");
        debug.field("attempt", &self.attempt);
        match &self.ending {
            Ending::Done(done) => debug.field("result", done),
            Ending::Other(_, ran) => debug.field("result", ran),
        };
        debug.finish_non_exhaustive()
    }
}

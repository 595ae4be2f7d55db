//! A run that is over.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;

use super::{Done, Held, Leader, Settled};
use crate::engine::Gate;
use crate::handler_error::Disposition;
use crate::lease::{Flight, Stop};
use crate::outcome::{Decision, Outcome, Verdict};
use crate::store::{Answer, Attempts, CompleteRequest, ReleaseRequest, StoreError};

/// A run that is over and has not been settled.
///
/// Dropping it completes its key where the handler has returned `Ok`, on idem's own runtime, and else gives it back: with one
/// attempt more where the run has failed and it was not the last one.
pub struct Finished {
    pub(in crate::engine) gate: Gate,
    pub(in crate::engine) attempt: u32,
    pub(in crate::engine) ending: Ending,
    pub(in crate::engine) took: Option<Duration>,
}

/// What is left of a run.
pub(in crate::engine) enum Ending {
    /// The handler has returned `Ok`, and its key is to be completed.
    Done(Done),
    /// Any other end, or one without a lease.
    Other(Option<Leader>, Ran),
}

/// How a run ended.
#[derive(Debug)]
pub(in crate::engine) enum Ran {
    Ok,
    Err {
        disposition: Disposition,
        text: Arc<str>,
    },
    Panicked,
    Stopped(Stop),
    Shutdown,
    /// The run's transaction came to this, and there is nothing to settle.
    Decided(Decision),
    /// The transaction that it shared was undone: it is to be run again alone, with this permit.
    Undone(OwnedSemaphorePermit),
}

/// What a finished run needs from the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Kind {
    Completes,
    Releases,
    /// The key is held until the dead letter is stored.
    Holds,
    /// The store has no lease: the run was without dedup, or its transaction has settled it.
    Free,
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
        ran: Ran,
    ) -> Self {
        let ending = match (leader, ran) {
            (Some(leader), Ran::Ok) if leader.is_claimed => Ending::Done(Done::of(leader)),
            (leader, ran) => Ending::Other(leader, ran),
        };
        let mut finished = Self { gate, attempt, ending, took };
        let kind = finished.kind();
        let Gate(gate) = &finished.gate;
        if kind == Kind::Holds {
            gate.engine.watch.hold(flight, &gate.policy, gate.engine.clock.now());
        } else {
            gate.engine.watch.remove(flight);
        }
        if let Ending::Other(Some(leader), Ran::Err { .. } | Ran::Panicked | Ran::Stopped(Stop::TimedOut)) =
            &mut finished.ending
            && kind == Kind::Releases
        {
            leader.attempts = Attempts::Count;
        }
        finished
    }

    pub(in crate::engine) fn kind(&self) -> Kind {
        let Ending::Other(leader, ran) = &self.ending else { return Kind::Completes };
        match ran {
            Ran::Decided(_) | Ran::Undone(_) => Kind::Free,
            _ if !leader.as_ref().is_some_and(|leader| leader.is_claimed) => Kind::Free,
            Ran::Stopped(Stop::Lost) | Ran::Shutdown => Kind::Releases,
            _ if self.is_dead_letter(ran) => Kind::Holds,
            _ => Kind::Releases,
        }
    }

    fn is_dead_letter(&self, ran: &Ran) -> bool {
        let is_last = self.attempt >= self.gate.policy().max_attempts;
        match ran {
            Ran::Err { disposition: Disposition::Reject, .. } => true,
            Ran::Err { .. } | Ran::Panicked | Ran::Stopped(Stop::TimedOut) => is_last,
            Ran::Ok | Ran::Stopped(Stop::Lost) | Ran::Shutdown | Ran::Decided(_) | Ran::Undone(_) => false,
        }
    }

    /// What the store is to be told, where the key is to be completed.
    pub(in crate::engine) fn completion(&self) -> Option<(&Arc<Flight>, CompleteRequest)> {
        let Ending::Done(done) = &self.ending else { return None };
        Some((done.flight(), done.request(&self.gate)?))
    }

    /// What the store is to be told, where the key is to be released.
    pub(in crate::engine) fn release(&self) -> Option<(&Arc<Flight>, ReleaseRequest)> {
        let (Kind::Releases, Ending::Other(Some(leader), _)) = (self.kind(), &self.ending) else {
            return None;
        };
        Some((&leader.flight, leader.release_request(leader.attempts)?))
    }

    /// What needs no answer of the store.
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
        match (&self.ending, self.kind(), first) {
            (_, Kind::Completes, Some(Ok(Answer::Done))) => {
                Some(Decision::new(Verdict::Ack, Outcome::Completed).attempt(self.attempt))
            }
            (Ending::Other(_, ran), Kind::Holds | Kind::Free, _)
            | (Ending::Other(_, ran), Kind::Releases, Some(Ok(_))) => Some(self.decide(ran)),
            _ => None,
        }
    }

    pub(in crate::engine) fn concluded(self, decision: Decision) -> Settled {
        let is_held = decision.verdict == Verdict::DeadLetter;
        let is_open =
            matches!(decision.outcome, Outcome::LeaseLost | Outcome::Shutdown | Outcome::TransactionFailed);
        match self.ending {
            Ending::Done(done) => Settled::of(done.decide(decision)),
            Ending::Other(None, _) => Settled::of(decision),
            Ending::Other(Some(leader), _) if is_held => Settled { decision, held: Some(Held::new(leader)) },
            Ending::Other(Some(leader), _) if is_open => {
                leader.abandon();
                Settled::of(decision)
            }
            Ending::Other(Some(leader), _) => Settled::of(leader.decide(decision)),
        }
    }

    /// The decision that needs no answer of the store.
    pub(in crate::engine) fn decide(&self, ran: &Ran) -> Decision {
        let policy = self.gate.policy();
        let decision = match ran {
            Ran::Ok => Decision::new(Verdict::Ack, Outcome::CompletedWithoutDedup),
            Ran::Err { disposition: Disposition::Reject, text } => {
                Decision::new(Verdict::DeadLetter, Outcome::Rejected).because(text.clone())
            }
            Ran::Err { disposition: Disposition::Retry(after), text } => {
                self.failed(ran, Outcome::Failed, *after).because(text.clone())
            }
            Ran::Panicked => self.failed(ran, Outcome::Panicked, None).because("the handler panicked"),
            Ran::Stopped(Stop::TimedOut) => self
                .failed(ran, Outcome::TimedOut, None)
                .because(format!("the handler took longer than its time-out of {:?}", policy.timeout)),
            Ran::Stopped(Stop::Lost) => {
                Decision::new(Verdict::Retry(self.conflict_delay()), Outcome::LeaseLost)
                    .because("the lease could not be kept, so the handler was cancelled")
            }
            Ran::Shutdown => Decision::new(Verdict::Leave, Outcome::Shutdown),
            Ran::Decided(decision) => decision.clone(),
            Ran::Undone(_) => {
                Decision::new(Verdict::Retry(self.conflict_delay()), Outcome::TransactionFailed)
                    .because("the transaction that it shared with other messages was undone")
            }
        };
        decision.attempt(self.attempt)
    }

    fn failed(&self, ran: &Ran, outcome: Outcome, after: Option<Duration>) -> Decision {
        if self.is_dead_letter(ran) {
            return Decision::new(Verdict::DeadLetter, Outcome::Exhausted);
        }
        let after = after.unwrap_or_else(|| self.gate.policy().backoff.after(self.attempt));
        Decision::new(Verdict::Retry(after), outcome)
    }

    fn conflict_delay(&self) -> Duration {
        let redeliveries = match &self.ending {
            Ending::Done(done) => done.redeliveries(),
            Ending::Other(leader, _) => leader.as_ref().map_or(0, |leader| leader.redeliveries),
        };
        self.gate.conflict_delay(Duration::ZERO, redeliveries)
    }
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

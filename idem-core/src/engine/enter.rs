//! Where equal keys of one process meet, so that only the first of them asks the store.

use std::sync::Arc;

use super::claim::Admission;
use super::ticket::{Leader, Settled};
use super::{Gate, Job};
use crate::key::Fingerprint;
use crate::lease::{End, Flight};
use crate::outcome::{Decision, Outcome, Verdict};
use crate::policy::FingerprintMismatch;
use crate::record::State;
use crate::store::Claim;

/// How a message enters the engine.
#[derive(Debug)]
pub enum Entry {
    /// The first message of its key in this process: to be claimed.
    Leader(Leader),
    /// Its key is in flight already: it waits for the first one's verdict.
    Follower(Follower),
    /// Its key is completed, and this process [knows](crate::Store::known) it.
    Decided(Settled),
}

impl Entry {
    /// The leader, where the message is one.
    pub fn into_leader(self) -> Option<Leader> {
        match self {
            Self::Leader(leader) => Some(leader),
            Self::Follower(_) | Self::Decided(_) => None,
        }
    }
}

/// A message whose key is in flight in this process.
pub struct Follower {
    gate: Gate,
    flight: Arc<Flight>,
    job: Job,
}

impl Gate {
    /// Lets a message in.
    pub fn enter(&self, job: Job) -> Entry {
        if let Some(Claim::Completed { fingerprint, .. }) = self.0.engine.known(&job.key)
            && self.mismatch(State::Completed, fingerprint, job.fingerprint).is_none()
        {
            return Entry::Decided(Settled::of(duplicate()));
        }
        let new = || Flight::new(Some(job.key.clone()), job.fingerprint);
        match self.0.engine.flights.enter(&job.key, new) {
            Ok(flight) => Entry::Leader(Leader::new(self.clone(), flight, &job)),
            Err(flight) => Entry::Follower(Follower { gate: self.clone(), flight, job }),
        }
    }

    /// What is decided for a payload that differs from the one that its key is known for, in that state.
    ///
    /// Invariant 5: a key in progress makes no duplicate yet, because its run may still fail
    /// (`another_payload_of_a_key_in_progress_is_no_duplicate_yet`).
    pub(super) fn mismatch(
        &self,
        state: State,
        known: Option<Fingerprint>,
        ours: Option<Fingerprint>,
    ) -> Option<Mismatch> {
        let differs = matches!((known, ours), (Some(known), Some(ours)) if known != ours);
        match self.0.policy.fingerprint {
            FingerprintMismatch::DeadLetter if differs => Some(Mismatch::Decided(
                Decision::new(Verdict::DeadLetter, Outcome::FingerprintMismatch)
                    .because("the key is known under another payload"),
            )),
            FingerprintMismatch::Duplicate if differs && state == State::Completed => {
                Some(Mismatch::Decided(Decision::new(Verdict::Ack, Outcome::FingerprintMismatch)))
            }
            FingerprintMismatch::Run if differs => Some(Mismatch::Run),
            _ => None,
        }
    }

    /// The row of the verdict table for a key that is in progress elsewhere.
    pub(super) fn conflict(&self, remaining: std::time::Duration, redeliveries: u32) -> Decision {
        Decision::new(Verdict::Retry(self.conflict_delay(remaining, redeliveries)), Outcome::InProgress)
    }
}

/// The decision for a message whose work is done.
pub(super) fn duplicate() -> Decision {
    Decision::new(Verdict::Ack, Outcome::Duplicate)
}

/// What a differing payload means.
pub(super) enum Mismatch {
    Decided(Decision),
    Run,
}

impl Follower {
    /// Waits for the first message's verdict, no longer than the handler may run, and takes it as its own.
    ///
    /// # Cancel safety
    /// Nothing is lost when this is dropped: a follower holds neither a permit nor a lease.
    pub async fn admit(self) -> Admission {
        match self.gate.mismatch(State::InProgress, self.flight.fingerprint, self.job.fingerprint) {
            Some(Mismatch::Decided(decision)) => return Admission::Decided(Settled::of(decision)),
            Some(Mismatch::Run) => {
                return self.gate.admit_without_dedup(self.job.redeliveries.saturating_add(1)).await;
            }
            None => {}
        }
        Admission::Decided(Settled::of(self.verdict().await))
    }

    async fn verdict(&self) -> Decision {
        let Self { gate, flight, job } = self;
        // The handler's time counts; a completion that the store does not take yet holds this message too.
        let too_long = async {
            loop {
                let started = flight.has_started().await;
                tokio::time::sleep(gate.policy().timeout).await;
                if flight.started() == Some(started) {
                    break;
                }
            }
        };
        tokio::select! {
            biased;
            end = flight.ended() => match end {
                End::Decided(decision) => shared(decision),
                End::Abandoned => gate.conflict(std::time::Duration::ZERO, job.redeliveries),
            },
            () = gate.0.engine.stop.cancelled() => Decision::new(Verdict::Leave, Outcome::Shutdown),
            () = too_long => gate.conflict(std::time::Duration::ZERO, job.redeliveries),
        }
    }
}

/// The first message's decision, as another message of its key has it: no run and no attempt of its own. A dead
/// letter says how many attempts the key had.
fn shared(decision: Decision) -> Decision {
    let attempt = if decision.verdict == Verdict::DeadLetter { decision.attempt } else { 0 };
    let outcome = match decision.verdict {
        Verdict::Ack => Outcome::Duplicate,
        Verdict::Retry(_) => Outcome::InProgress,
        Verdict::DeadLetter | Verdict::Leave => decision.outcome,
    };
    Decision { outcome, attempt, ..decision }
}

impl std::fmt::Debug for Follower {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Follower").field("key", &self.job.key).finish_non_exhaustive()
    }
}

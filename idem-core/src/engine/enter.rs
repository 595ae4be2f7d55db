//! Where equal keys of one process meet, so that only the first of them asks the store.

use std::sync::Arc;

use super::claim::Admission;
use super::settle::Settled;
use super::{Gate, Job};
use crate::key::Fingerprint;
use crate::lease::{End, Flight};
use crate::outcome::{Decision, Outcome, Verdict};
use crate::policy::FingerprintMismatch;
use crate::store::{Attempts, Claim, ReleaseRequest};

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

/// The first message of its key in this process. Dropping it gives the key back.
pub struct Leader {
    pub(super) gate: Gate,
    pub(super) flight: Arc<Flight>,
    pub(super) redeliveries: u32,
    failures: u32,
    /// Whether the store may hold a lease for this flight that nobody has given back.
    pub(super) is_claimed: bool,
    is_over: bool,
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
        if let Some(Claim::Completed { fingerprint, .. }) = self.0.engine.store.known(&job.key)
            && self.mismatch(fingerprint, job.fingerprint).is_none()
        {
            return Entry::Decided(Settled::of(duplicate()));
        }
        let new = || Flight::new(Some(job.key.clone()), job.fingerprint);
        match self.0.engine.flights.enter(&job.key, new) {
            Ok(flight) => Entry::Leader(Leader {
                gate: self.clone(),
                flight,
                redeliveries: job.redeliveries,
                failures: job.failures,
                is_claimed: false,
                is_over: false,
            }),
            Err(flight) => Entry::Follower(Follower { gate: self.clone(), flight, job }),
        }
    }

    /// What is decided for a payload that differs from the one that its key is known for.
    pub(super) fn mismatch(&self, known: Option<Fingerprint>, ours: Option<Fingerprint>) -> Option<Mismatch> {
        let differs = matches!((known, ours), (Some(known), Some(ours)) if known != ours);
        match self.0.policy.fingerprint {
            FingerprintMismatch::DeadLetter if differs => Some(Mismatch::Decided(
                Decision::new(Verdict::DeadLetter, Outcome::FingerprintMismatch)
                    .because("the key is known under another payload"),
            )),
            FingerprintMismatch::Duplicate if differs => {
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
        match self.gate.mismatch(self.flight.fingerprint, self.job.fingerprint) {
            Some(Mismatch::Decided(decision)) => return Admission::Decided(Settled::of(decision)),
            Some(Mismatch::Run) => return self.gate.admit_without_dedup(self.job.redeliveries + 1).await,
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

impl Leader {
    /// Which attempt the next run is, where its record counts this one: the record may have expired since the message was
    /// sent back.
    pub(super) fn attempt(&self, counted: u32) -> u32 {
        counted.max(self.failures.saturating_add(1))
    }

    /// Ends the flight: whoever waits for this key takes `decision` too.
    pub(super) fn decide(mut self, decision: Decision) -> Decision {
        self.end(End::Decided(decision.clone()));
        decision
    }

    /// Ends the flight without a verdict for others.
    pub(super) fn abandon(mut self) {
        self.end(End::Abandoned);
    }

    fn end(&mut self, end: End) {
        self.is_over = true;
        self.gate.0.engine.flights.leave(&self.flight);
        self.flight.finish(end);
    }

    pub(super) fn release_request(&self, attempts: Attempts) -> Option<ReleaseRequest> {
        Some(ReleaseRequest {
            key: self.flight.key.clone()?,
            token: self.flight.token,
            retention: self.gate.policy().retention,
            attempts,
        })
    }
}

/// Invariant: a dropped run leaves nothing in progress for longer than the lease
/// (`a_dropped_run_gives_its_key_back`).
impl Drop for Leader {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let engine = &self.gate.0.engine;
        engine.watch.remove(&self.flight);
        if self.is_claimed
            && let Some(request) = self.release_request(Attempts::Keep)
        {
            let releases = engine.releases.clone();
            engine.runtime.spawn(async move { releases.call_one(request).await });
        }
        self.end(End::Abandoned);
    }
}

impl std::fmt::Debug for Leader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Leader").field("key", &self.flight.key).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Follower {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Follower").field("key", &self.job.key).finish_non_exhaustive()
    }
}

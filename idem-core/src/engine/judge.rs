//! What the store's answer to a claim comes to.

use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;

use super::Gate;
use super::claim::{Admission, Claimed};
use super::enter::{Mismatch, duplicate};
use super::ticket::{Held, Leader, Settled};
use super::transaction::OpenTransaction;
use crate::outcome::{Decision, Outcome, Verdict};
use crate::policy::{InProgress, StoreFailure};
use crate::record::State;
use crate::store::{Claim, StoreError};

/// What a repeated claim remembers.
#[derive(Default)]
pub(super) struct Patience {
    /// How often the store has failed in a row.
    failures: u32,
    /// How long the message has waited in place for a key in progress.
    waited: Duration,
}

/// The judgement of one answer.
pub(super) enum Judged {
    Admitted(Admission),
    Again(Again),
}

/// A key that is to be claimed again.
pub(super) struct Again {
    pub(super) leader: Leader,
    pub(super) permit: Option<OwnedSemaphorePermit>,
    pub(super) after: Duration,
}

impl Gate {
    pub(super) fn judge(
        &self,
        leader: Leader,
        permit: OwnedSemaphorePermit,
        sent: Duration,
        answer: Result<Claim, StoreError>,
        patience: &mut Patience,
    ) -> Judged {
        match answer {
            Ok(Claim::Claimed { fence, attempt }) => {
                let (now, deadline) = (self.0.engine.clock.now(), self.local_deadline(sent));
                if now >= deadline {
                    // Invariant 4: no handler starts when the claim's reply came later than the local deadline
                    // (`invariant_4_a_late_claim_does_not_start_a_handler`). The same token claims again.
                    return Judged::Again(Again { leader, permit: Some(permit), after: Duration::ZERO });
                }
                leader.flight.claimed(fence, deadline);
                Judged::Admitted(self.claimed(leader, permit, attempt, None, now))
            }
            Ok(Claim::Completed { fingerprint, .. }) => {
                Judged::Admitted(self.known(leader, permit, (State::Completed, fingerprint), |_| duplicate()))
            }
            Ok(Claim::InProgress { remaining, fingerprint }) => {
                if let Some(after) = self.waits_in_place(&leader, remaining, fingerprint, patience) {
                    patience.waited = patience.waited.saturating_add(after);
                    return Judged::Again(Again { leader, permit: None, after });
                }
                Judged::Admitted(self.known(leader, permit, (State::InProgress, fingerprint), |leader| {
                    self.conflict(remaining, leader.redeliveries)
                }))
            }
            Err(error) => self.store_failed(leader, permit, &error, patience),
        }
    }

    pub(super) fn claimed(
        &self,
        leader: Leader,
        permit: OwnedSemaphorePermit,
        attempt: u32,
        transaction: Option<OpenTransaction>,
        now: Duration,
    ) -> Admission {
        self.0.engine.fullness.took(self.0.engine.store.name(), now);
        let attempt = leader.attempt(attempt);
        if attempt > self.0.policy.max_attempts {
            let decision = Decision::new(Verdict::DeadLetter, Outcome::Exhausted)
                .attempt(attempt - 1)
                .because("all attempts were used up before");
            return Admission::Decided(Settled { decision, held: Some(Held::new(leader)) });
        }
        self.watch(&leader.flight, now);
        let flight = leader.flight.clone();
        Admission::Run(Claimed {
            gate: self.clone(),
            leader: Some(leader),
            flight,
            attempt,
            permit,
            transaction,
            member: None,
        })
    }

    /// The key is completed or in progress: decided by `decide`, unless the payload is another one.
    fn known(
        &self,
        mut leader: Leader,
        permit: OwnedSemaphorePermit,
        (state, known): (State, Option<crate::Fingerprint>),
        decide: impl FnOnce(&Leader) -> Decision,
    ) -> Admission {
        leader.is_claimed = false;
        match self.mismatch(state, known, leader.flight.fingerprint) {
            None => {
                let decision = decide(&leader);
                Admission::Decided(Settled::of(leader.decide(decision)))
            }
            Some(Mismatch::Decided(decision)) => {
                // The verdict is this payload's alone; another message of the key may have the known one.
                leader.abandon();
                Admission::Decided(Settled::of(decision))
            }
            Some(Mismatch::Run) => {
                let attempt = leader.redeliveries.saturating_add(1);
                leader.abandon();
                self.run_without_dedup(attempt, permit)
            }
        }
    }

    fn waits_in_place(
        &self,
        leader: &Leader,
        remaining: Duration,
        known: Option<crate::Fingerprint>,
        patience: &Patience,
    ) -> Option<Duration> {
        let InProgress::Wait(bound) = self.0.policy.in_progress else { return None };
        let left = bound.checked_sub(patience.waited).filter(|left| !left.is_zero())?;
        if self.mismatch(State::InProgress, known, leader.flight.fingerprint).is_some() {
            return None;
        }
        // The holder may finish long before its lease ends: look in steps that are cheap for the store.
        Some(left.min(remaining).clamp(Duration::from_millis(10), Duration::from_millis(250)))
    }

    fn store_failed(
        &self,
        mut leader: Leader,
        permit: OwnedSemaphorePermit,
        error: &StoreError,
        patience: &mut Patience,
    ) -> Judged {
        match self.0.policy.store_failure {
            StoreFailure::Hold => {
                self.report_hold(error, patience.failures);
                patience.failures = patience.failures.saturating_add(1);
                Judged::Again(Again { leader, permit: Some(permit), after: hold_delay(patience.failures) })
            }
            StoreFailure::Open => {
                // The claim may have been stored all the same: it is given back when the store answers again.
                let attempt = leader.redeliveries.saturating_add(1);
                leader.abandon_now();
                Judged::Admitted(self.run_without_dedup(attempt, permit))
            }
            StoreFailure::Retry => {
                leader.is_claimed = false;
                let delay = self.0.policy.backoff.after(leader.redeliveries.saturating_add(1));
                let decision =
                    Decision::new(Verdict::Retry(delay), Outcome::StoreFailed).because(error.to_string());
                Judged::Admitted(Admission::Decided(Settled::of(leader.decide(decision))))
            }
        }
    }

    pub(super) fn report_hold(&self, error: &StoreError, failures: u32) {
        metrics::counter!("idem_store_holds_total").increment(1);
        self.report_unanswered(
            "a claim: the message is held, nothing is acked or sent back; consuming goes on by itself when the store \
             answers",
            error,
            failures,
        );
    }
}

/// 50 ms, then twice as long each time, up to a second.
pub(super) fn hold_delay(failures: u32) -> Duration {
    Duration::from_millis(50 << failures.saturating_sub(1).min(5)).min(Duration::from_secs(1))
}

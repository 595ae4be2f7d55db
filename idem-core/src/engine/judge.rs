//! Applies the verdict on a claim's answer.

use std::time::Duration;

use metrics::SharedString;
use tokio::sync::OwnedSemaphorePermit;

use super::Gate;
use super::ticket::{
    Admission, ClaimedRun, HeldKey, Judgement, Leader, OpenTransaction, RepeatedClaim, Settled,
};
use super::verdict::{self, Admit, Patience};
use crate::doubt::{Doubt, DoubtCause};
use crate::lease::{Flight, FlightEnd};
use crate::policy::UncertainRun;
use crate::store::{Claim, StoreError};

impl Gate {
    /// Judges the answer to a claim that left this process at `sent`.
    pub(super) fn judge(
        &self,
        leader: Leader,
        permit: OwnedSemaphorePermit,
        sent: Duration,
        answer: &Result<Claim, StoreError>,
        patience: &mut Patience,
    ) -> Judgement {
        self.judge_at(self.0.engine.clock.now(), leader, permit, sent, answer, patience)
    }

    /// As [`judge`](Self::judge), for an answer that came before `now`.
    pub(super) fn judge_at(
        &self,
        now: Duration,
        mut leader: Leader,
        permit: OwnedSemaphorePermit,
        sent: Duration,
        answer: &Result<Claim, StoreError>,
        patience: &mut Patience,
    ) -> Judgement {
        let admit = verdict::claim(self.policy(), &leader.message(), patience, answer);
        match answer {
            Ok(Claim::Claimed { fence, after, .. }) => {
                let deadline = self.local_deadline(sent);
                if now >= deadline {
                    // Invariant 4: no handler starts when the claim's reply came later than the local deadline
                    // (`invariant_4_a_late_claim_does_not_start_a_handler`). The same token claims again.
                    return Judgement::Again(RepeatedClaim {
                        leader,
                        permit: Some(permit),
                        after: Duration::ZERO,
                    });
                }
                leader.flight.claimed(*fence, deadline);
                self.found_doubt(&leader.flight, *after);
            }
            Ok(Claim::Completed { .. } | Claim::InProgress { .. }) => leader.is_claimed = false,
            // The claim may have been stored all the same.
            Err(_) => {}
        }
        Judgement::Admitted(match admit {
            Admit::Run { attempt } => self.claimed(leader, permit, attempt, None, now),
            Admit::RunWithoutDedup { attempt } => {
                leader.end_now(FlightEnd::Abandoned);
                self.run_without_dedup(attempt, permit)
            }
            Admit::Decide(decision) => {
                leader.end_now(FlightEnd::Decided(decision.clone()));
                Admission::Decided(Settled::of(decision))
            }
            Admit::DecideAlone(decision) => {
                leader.abandon();
                Admission::Decided(Settled::of(decision))
            }
            Admit::DeadLetter(decision) => {
                self.took(now);
                Admission::Decided(Settled { decision, held: Some(HeldKey::new(leader)) })
            }
            Admit::Hold(after) => {
                if let Err(error) = answer {
                    self.report_hold(error, patience.failures);
                }
                patience.failures = patience.failures.saturating_add(1);
                return Judgement::Again(RepeatedClaim { leader, permit: Some(permit), after });
            }
            Admit::Wait(after) => {
                patience.waited = patience.waited.saturating_add(after);
                return Judgement::Again(RepeatedClaim { leader, permit: None, after });
            }
        })
    }

    /// The handler is to be run under the lease, or in the transaction, that its key was claimed in.
    pub(super) fn claimed(
        &self,
        leader: Leader,
        permit: OwnedSemaphorePermit,
        attempt: u32,
        transaction: Option<OpenTransaction>,
        now: Duration,
    ) -> Admission {
        self.took(now);
        self.watch(&leader.flight, now);
        let flight = leader.flight.clone();
        Admission::Run(ClaimedRun {
            gate: self.clone(),
            leader: Some(leader),
            flight,
            attempt,
            permit,
            transaction,
            member: None,
        })
    }

    /// Notes a doubt that the claim has found. What becomes of it is counted here, but for a check's answer.
    pub(super) fn found_doubt(&self, flight: &Flight, after: Option<Doubt>) {
        let Some(doubt) = after else { return };
        flight.note_doubt(doubt);
        match self.policy().uncertain {
            UncertainRun::Run => self.count_doubt(doubt.cause, "run"),
            UncertainRun::Hold => self.count_doubt(doubt.cause, "held"),
            UncertainRun::Check => {}
        }
    }

    pub(super) fn count_doubt(&self, cause: DoubtCause, became: &'static str) {
        let labels = [
            ("handler", SharedString::from(self.0.name.clone())),
            ("cause", SharedString::const_str(cause.as_str())),
            ("became", SharedString::const_str(became)),
        ];
        metrics::counter!("idem_doubts_total", &labels).increment(1);
    }

    /// Notes that the store has room again.
    fn took(&self, now: Duration) {
        let engine = &self.0.engine;
        engine.fullness.took(engine.store.name(), now);
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

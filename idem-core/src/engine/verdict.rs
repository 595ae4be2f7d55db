//! The verdict table: what becomes of a message, decided by its policy, the store's answers and the end of its run.
//!
//! One function answers one question, and each of its rows is a test; `cargo test -p idem-core engine::verdict` lists them.
//! No clock, no await and no lock is in here, so that a model can be checked with the code that runs in production. The
//! engine's steps apply these answers and decide nothing by themselves.

mod doubt;
#[cfg(test)]
mod table;

use std::sync::Arc;
use std::time::Duration;

pub use self::doubt::{checked, claim_inside, doubt, unknown};
use self::doubt::{in_doubt, is_held};
use crate::doubt::DoubtCause;
use crate::handler_error::Disposition;
use crate::key::Fingerprint;
use crate::outcome::{Decision, Outcome, Verdict};
use crate::policy::{
    Backoff, FingerprintMismatch, InProgress, MissingKey, Policy, StoreFailure, UncertainRun, Undecodable,
};
use crate::record::{LastRun, State};
use crate::store::{Attempts, Claim, StoreError};

/// The part of a message that its verdict depends on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Arrival {
    /// The payload's digest, where the policy compares payloads.
    pub fingerprint: Option<Fingerprint>,
    /// How often the broker has delivered the message before.
    pub redeliveries: u32,
    /// How many attempts the message itself says have failed.
    pub failures: u32,
}

/// The history of a claim that is asked for again and again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Patience {
    /// How often in a row the store has failed.
    pub failures: u32,
    /// How long the message has waited in place for a key in progress.
    pub waited: Duration,
}

/// The next step of a message whose claim was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admit {
    /// Run the handler under the lease.
    Run {
        /// Which attempt the run is.
        attempt: u32,
    },
    /// Run the handler without a record.
    RunWithoutDedup {
        /// Which attempt the run is, by the broker's count.
        attempt: u32,
    },
    /// Decided. Messages of the same key that wait in this process take the decision, too.
    Decide(Decision),
    /// Decided for this message alone: another one of the key may have the known payload.
    DecideAlone(Decision),
    /// A dead letter. The key has been claimed, and is held until the broker has stored it.
    DeadLetter(Decision),
    /// Ask again after this time, because the store has failed. Nothing is acked or sent back meanwhile.
    Hold(Duration),
    /// Ask again after this time, because the key is in progress. The permit is given back meanwhile.
    Wait(Duration),
}

/// Decides what follows from the answer to a claim.
///
/// Invariant 4: no handler runs for a key that is completed or leased to another.
pub fn claim(
    policy: &Policy,
    message: &Arrival,
    patience: &Patience,
    answer: &Result<Claim, StoreError>,
) -> Admit {
    match answer {
        Ok(Claim::Claimed { attempt, after, .. }) => {
            let attempt = attempt_of(message, *attempt);
            let tried = attempt.saturating_sub(1);
            match (policy.uncertain, after) {
                (UncertainRun::Hold, Some(doubt)) => Admit::DeadLetter(in_doubt(tried, &doubt.to_string())),
                (UncertainRun::Check, Some(doubt)) if attempt > policy.max_attempts => Admit::DeadLetter(
                    in_doubt(tried, &format!("no check has told what became of it: {doubt}")),
                ),
                _ if attempt > policy.max_attempts => Admit::DeadLetter(
                    Decision::new(Verdict::DeadLetter, Outcome::Exhausted)
                        .attempt(tried)
                        .because("all attempts were used up before"),
                ),
                _ => Admit::Run { attempt },
            }
        }
        Ok(Claim::Completed { fingerprint, .. }) => mismatch(policy, State::Completed, *fingerprint, message)
            .unwrap_or_else(|| Admit::Decide(duplicate())),
        Ok(Claim::InProgress { remaining, fingerprint }) => {
            let mismatch = mismatch(policy, State::InProgress, *fingerprint, message);
            let wait = || wait_in_place(policy, *remaining, patience).map(Admit::Wait);
            let conflict = || Admit::Decide(in_progress(policy, *remaining, message.redeliveries));
            mismatch.or_else(wait).unwrap_or_else(conflict)
        }
        Err(error) => match policy.store_failure {
            StoreFailure::Hold => Admit::Hold(hold_delay(patience.failures.saturating_add(1))),
            StoreFailure::Open => Admit::RunWithoutDedup { attempt: delivery_of(message) },
            StoreFailure::Retry => {
                let delay = policy.backoff.after(delivery_of(message));
                let decision = Decision::new(Verdict::Retry(delay), Outcome::StoreFailed);
                Admit::Decide(decision.because(error.to_string()))
            }
        },
    }
}

/// Returns which attempt a run would be, where its record counts `counted`: the record may have expired since the message
/// was sent back.
pub fn attempt_of(message: &Arrival, counted: u32) -> u32 {
    counted.max(message.failures.saturating_add(1))
}

/// The number of this delivery, counted from 1.
fn delivery_of(message: &Arrival) -> u32 {
    message.redeliveries.saturating_add(1)
}

/// Decides about a payload that differs from the one that its key is known for. `None` where it does not, or where that
/// makes no difference.
///
/// Invariant 5: a key in progress makes no duplicate yet, because its run may still fail
/// (`another_payload_of_a_key_in_progress_is_no_duplicate_yet`).
pub fn mismatch(
    policy: &Policy,
    state: State,
    known: Option<Fingerprint>,
    message: &Arrival,
) -> Option<Admit> {
    if !matches!((known, message.fingerprint), (Some(known), Some(ours)) if known != ours) {
        return None;
    }
    let decided = |verdict| Decision::new(verdict, Outcome::FingerprintMismatch);
    match policy.fingerprint {
        FingerprintMismatch::Ignore => None,
        FingerprintMismatch::Duplicate if state != State::Completed => None,
        FingerprintMismatch::Duplicate => Some(Admit::DecideAlone(decided(Verdict::Ack))),
        FingerprintMismatch::Run => Some(Admit::RunWithoutDedup { attempt: delivery_of(message) }),
        FingerprintMismatch::DeadLetter => Some(Admit::DecideAlone(
            decided(Verdict::DeadLetter).because("the key is known under another payload"),
        )),
    }
}

/// The next look at a key in progress. Its holder may finish long before its lease ends, so the steps are short, but not so
/// short that they cost the store much.
fn wait_in_place(policy: &Policy, remaining: Duration, patience: &Patience) -> Option<Duration> {
    let InProgress::Wait(bound) = policy.in_progress else { return None };
    let left = bound.checked_sub(patience.waited).filter(|left| !left.is_zero())?;
    Some(left.min(remaining).clamp(Duration::from_millis(10), Duration::from_millis(250)))
}

/// The decision for a key that was completed before.
pub fn duplicate() -> Decision {
    Decision::new(Verdict::Ack, Outcome::Duplicate)
}

/// The decision for a key that is in progress elsewhere, for at least `remaining`.
pub fn in_progress(policy: &Policy, remaining: Duration, redeliveries: u32) -> Decision {
    Decision::new(Verdict::Retry(conflict_delay(policy, remaining, redeliveries)), Outcome::InProgress)
}

/// The decision for a message whose key was in flight in this process, once the first message of the key has `decision`. It
/// costs no attempt of its own. A dead letter says how many attempts the key had.
pub fn follow(decision: Decision) -> Decision {
    let attempt = if decision.verdict == Verdict::DeadLetter { decision.attempt } else { 0 };
    let outcome = match decision.verdict {
        Verdict::Ack => Outcome::Duplicate,
        Verdict::Retry(_) => Outcome::InProgress,
        Verdict::DeadLetter | Verdict::Leave => decision.outcome,
    };
    Decision { outcome, attempt, ..decision }
}

/// Whether messages of the same key that wait in this process take the decision. They do not where it says nothing of the
/// key's work.
pub const fn is_shared(decision: &Decision) -> bool {
    !matches!(decision.outcome, Outcome::LeaseLost | Outcome::Shutdown | Outcome::TransactionFailed)
}

/// The end of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunEnd {
    /// The handler returned `Ok`.
    Ok,
    /// The handler returned an error.
    Failed {
        /// The treatment that the error asks for.
        disposition: Disposition,
        /// Whether the handler says that it does not know whether its work was done.
        is_uncertain: bool,
        /// The error's text.
        reason: Arc<str>,
    },
    /// A check was asked what became of an earlier run, and does not know it either.
    Unknown {
        /// The words of the check.
        reason: Arc<str>,
    },
    /// The handler panicked.
    Panicked,
    /// The handler took longer than its time-out and was cancelled.
    TimedOut,
    /// The lease could not be kept, and the handler was cancelled.
    LeaseLost,
    /// The engine was stopped, and the handler was cancelled.
    Shutdown,
}

/// The message to the store about a run that ended under a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settlement {
    /// Complete the key.
    Complete,
    /// Give the key back.
    Release(Attempts),
    /// Hold the key until the broker has stored the dead letter.
    Hold,
}

/// Decides how a run that ended under a lease is recorded in the store.
///
/// Invariant 8: once a handler has returned `Ok`, its key is completed and never released.
pub fn settlement(policy: &Policy, attempt: u32, end: &RunEnd, doubt: Option<DoubtCause>) -> Settlement {
    match end {
        RunEnd::Ok => Settlement::Complete,
        RunEnd::LeaseLost | RunEnd::Shutdown => Settlement::Release(Attempts::Keep),
        RunEnd::Failed { disposition: Disposition::Reject, .. } => Settlement::Hold,
        RunEnd::Failed { .. } | RunEnd::Panicked | RunEnd::TimedOut | RunEnd::Unknown { .. } => {
            if is_last(policy, attempt) || is_held(policy, doubt) {
                Settlement::Hold
            } else {
                Settlement::Release(Attempts::Count)
            }
        }
    }
}

/// The end of a run as its key's record keeps it, where it did not complete the key.
pub fn last_run(end: &RunEnd) -> Option<LastRun> {
    Some(match end {
        RunEnd::Failed { disposition: Disposition::Reject, reason, .. } => {
            LastRun::new(Outcome::Rejected, reason)
        }
        RunEnd::Failed { reason, .. } => LastRun::new(Outcome::Failed, reason),
        RunEnd::Unknown { reason } => LastRun::new(Outcome::Uncertain, reason),
        RunEnd::Panicked => LastRun::new(Outcome::Panicked, ""),
        RunEnd::TimedOut => LastRun::new(Outcome::TimedOut, ""),
        RunEnd::LeaseLost => LastRun::new(Outcome::LeaseLost, ""),
        RunEnd::Shutdown => LastRun::new(Outcome::Shutdown, ""),
        RunEnd::Ok => return None,
    })
}

const fn is_last(policy: &Policy, attempt: u32) -> bool {
    attempt >= policy.max_attempts
}

/// Decides about the message of a run that ended so and left this doubt. An `Ok` is one without a record to complete; where there
/// is one, [`completion`] decides.
pub fn ended(
    policy: &Policy,
    message: &Arrival,
    attempt: u32,
    end: &RunEnd,
    doubt: Option<DoubtCause>,
) -> Decision {
    let failed = |outcome, after: Option<Duration>| {
        if is_last(policy, attempt) {
            return Decision::new(Verdict::DeadLetter, Outcome::Exhausted);
        }
        Decision::new(Verdict::Retry(after.unwrap_or_else(|| policy.backoff.after(attempt))), outcome)
    };
    if is_held(policy, doubt) {
        let reason = match end {
            RunEnd::Failed { reason, .. } => reason,
            RunEnd::Panicked => "the handler panicked",
            _ => "the handler took longer than its time-out",
        };
        return in_doubt(attempt, reason);
    }
    let decision = match end {
        RunEnd::Ok => Decision::new(Verdict::Ack, Outcome::CompletedWithoutDedup),
        RunEnd::Failed { disposition: Disposition::Reject, reason, .. } => {
            Decision::new(Verdict::DeadLetter, Outcome::Rejected).because(reason.clone())
        }
        RunEnd::Failed { disposition: Disposition::Retry(after), reason, .. } => {
            failed(Outcome::Failed, *after).because(reason.clone())
        }
        RunEnd::Unknown { reason } if is_last(policy, attempt) => in_doubt(attempt, reason),
        RunEnd::Unknown { reason } => failed(Outcome::Uncertain, None).because(reason.clone()),
        RunEnd::Panicked => failed(Outcome::Panicked, None).because("the handler panicked"),
        RunEnd::TimedOut => failed(Outcome::TimedOut, None)
            .because(format!("the handler took longer than its time-out of {:?}", policy.timeout)),
        RunEnd::LeaseLost => {
            let delay = conflict_delay(policy, Duration::ZERO, message.redeliveries);
            Decision::new(Verdict::Retry(delay), Outcome::LeaseLost)
                .because("the lease could not be kept, so the handler was cancelled")
        }
        RunEnd::Shutdown => shutdown(),
    };
    decision.attempt(attempt)
}

/// The end of a completion that the store was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Completion {
    /// The store has recorded it.
    Recorded,
    /// The store has recorded it, and a check has found that an earlier run did the work.
    FoundDone,
    /// The lease was lost, and somebody else has completed the key.
    RecordedElsewhere,
    /// The lease was lost and the key is not completed, or its record is one that this version does not understand.
    Lost,
    /// The engine was stopped before the store answered.
    Unanswered,
}

/// Decides about a message whose handler returned `Ok` under a lease.
///
/// Invariant 5: a message is acked only when its key is completed
/// (`invariant_5_ok_is_acked_only_when_the_completion_is_recorded`).
pub fn completion(
    policy: &Policy,
    message: &Arrival,
    attempt: u32,
    completion: Completion,
    is_stopped: bool,
) -> Decision {
    let delay = || conflict_delay(policy, Duration::ZERO, message.redeliveries);
    let (verdict, outcome) = match completion {
        Completion::Recorded => (Verdict::Ack, Outcome::Completed),
        Completion::FoundDone => (Verdict::Ack, Outcome::FoundDone),
        Completion::RecordedElsewhere => (Verdict::Ack, Outcome::CompletedElsewhere),
        Completion::Unanswered => (Verdict::Leave, Outcome::CompletionLost),
        Completion::Lost if is_stopped => (Verdict::Leave, Outcome::CompletionLost),
        Completion::Lost => (Verdict::Retry(delay()), Outcome::CompletionLost),
    };
    Decision::new(verdict, outcome).attempt(attempt)
}

/// The decision for a run whose transaction was not committed through no fault of its own, or for which nobody knows: the
/// database gave way to another transaction, the connection was lost, or a message that shared the transaction failed.
pub fn rolled_back(policy: &Policy, message: &Arrival, reason: impl Into<Arc<str>>) -> Decision {
    let delay = conflict_delay(policy, Duration::ZERO, message.redeliveries);
    Decision::new(Verdict::Retry(delay), Outcome::TransactionFailed).because(reason)
}

/// Decides about a run that failed in its transaction, by the answer to the claim that counts it after the rollback. `None`
/// where the run's own end decides.
pub fn recount(policy: &Policy, message: &Arrival, answer: &Result<Claim, StoreError>) -> Option<Decision> {
    match answer {
        Ok(Claim::Claimed { .. }) => None,
        // Another process has taken the key in between, and its run counts.
        Ok(Claim::Completed { .. }) => Some(duplicate()),
        Ok(Claim::InProgress { remaining, .. }) => {
            Some(in_progress(policy, *remaining, message.redeliveries))
        }
        Err(error) => Some(rolled_back(policy, message, error.to_string())),
    }
}

/// The decision for a handler that has committed its transaction by itself, once its record is completed. `end` is that of
/// its run, where it is known.
pub fn committed_by_handler(end: Option<&RunEnd>) -> Decision {
    let failure = match end {
        Some(RunEnd::Failed { reason, .. }) => format!("; {reason}"),
        Some(RunEnd::Panicked) => "; it panicked".to_owned(),
        Some(RunEnd::TimedOut | RunEnd::LeaseLost) => "; it took too long".to_owned(),
        Some(RunEnd::Ok | RunEnd::Shutdown | RunEnd::Unknown { .. }) | None => String::new(),
    };
    Decision::new(Verdict::DeadLetter, Outcome::CommittedByHandler)
        .because(format!("{COMMITTED_BY_HANDLER}{failure}"))
}

const COMMITTED_BY_HANDLER: &str = "the handler has ended its transaction by a commit of its own (on MySQL also by a change of a \
    table): the work before the commit is kept, the work after it is not. The handler is not run again: its key counts as \
    completed. Finish or undo its work by hand, or remove the key's record and send the dead letter again";

/// Why a message cannot be handled at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    /// The payload does not decode.
    Undecodable,
    /// There is no key, or an empty or over-long one.
    MissingKey,
}

impl Unfit {
    const fn outcome(self) -> Outcome {
        match self {
            Self::Undecodable => Outcome::Undecodable,
            Self::MissingKey => Outcome::MissingKey,
        }
    }
}

/// The next step of a message that does not decode or has no key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AdmitUnfit {
    /// Run the handler without a record.
    RunWithoutDedup,
    /// Decided.
    Decide(Decision),
    /// A dead letter, as far as the handler's tolerance goes; else the message is held.
    DeadLetter(Decision),
}

/// Decides about a message that does not decode or has no key. `attempt` is the broker's count.
pub fn unfit(policy: &Policy, what: Unfit, attempt: u32, reason: impl Into<Arc<str>>) -> AdmitUnfit {
    let is_retried = match what {
        Unfit::Undecodable => policy.undecodable == Undecodable::Retry,
        Unfit::MissingKey => match policy.missing_key {
            MissingKey::RunWithoutDedup => return AdmitUnfit::RunWithoutDedup,
            choice => choice == MissingKey::Retry,
        },
    };
    let decided = |verdict| Decision::new(verdict, what.outcome()).attempt(attempt).because(reason);
    match is_retried {
        false => AdmitUnfit::DeadLetter(decided(Verdict::DeadLetter)),
        true if is_last(policy, attempt) => AdmitUnfit::Decide(decided(Verdict::DeadLetter)),
        true => AdmitUnfit::Decide(decided(Verdict::Retry(policy.backoff.after(attempt)))),
    }
}

/// The decision for a message that no handler of this process takes. Another member of the group may have one, so it is
/// never acked.
pub fn no_handler(redeliveries: u32) -> Decision {
    let delay = Backoff::levels().after(redeliveries.saturating_add(1));
    Decision::new(Verdict::Retry(delay), Outcome::NoHandler).because(
        "no handler of this process takes this topic and tag: deploy the handler to every member of the group, \
         or remove the tag from what is sent",
    )
}

/// How long a deferred message stays away at least.
const DEFERRED: Duration = Duration::from_secs(10);

/// The decision for a message that waits for a slow handler while others could not get in. It costs no attempt.
pub fn deferred(policy: &Policy, redeliveries: u32) -> Decision {
    let delay = conflict_delay(policy, DEFERRED, redeliveries);
    Decision::new(Verdict::Retry(delay), Outcome::Deferred).because(
        "too many messages wait for this handler, which is slow; other handlers' messages could not get in",
    )
}

/// The decision for a message that is left to the broker, because the process is going away.
pub fn shutdown() -> Decision {
    Decision::new(Verdict::Leave, Outcome::Shutdown)
}

/// The decision for a message that keeps the order of one before it, which is to be tried again.
pub fn waits() -> Decision {
    Decision::new(Verdict::Leave, Outcome::Waiting)
}

/// The decision for a message that is held, because too many of its handler's messages cannot be handled, and whose queue has
/// another owner now.
pub fn held(what: Unfit) -> Decision {
    Decision::new(Verdict::Leave, what.outcome())
        .because("more than half of its handler's last 100 messages cannot be handled, so it is held")
}

/// Returns how many attempts of a message have failed with this decision, of which `before` had failed before it.
pub fn failures(decision: &Decision, before: u32) -> u32 {
    match decision.outcome {
        Outcome::Failed
        | Outcome::Panicked
        | Outcome::TimedOut
        | Outcome::Exhausted
        | Outcome::Rejected
        | Outcome::CommittedByHandler
        | Outcome::Undecodable
        | Outcome::MissingKey
        | Outcome::Uncertain => decision.attempt,
        _ => before,
    }
}

/// The delay before a key in progress elsewhere is asked for again: at least `remaining`, and a backoff from one second that
/// grows with the redeliveries to the handler's time-out.
pub fn conflict_delay(policy: &Policy, remaining: Duration, redeliveries: u32) -> Duration {
    let doublings = 1_u32.checked_shl(redeliveries).unwrap_or(u32::MAX);
    let backoff = Duration::from_secs(1).checked_mul(doublings).unwrap_or(Duration::MAX);
    remaining.max(backoff.min(policy.timeout))
}

/// The delay before a store that has failed so often in a row is asked again: 50 ms, then twice as long each time, up to a
/// second.
pub fn hold_delay(failures: u32) -> Duration {
    Duration::from_millis(50 << failures.saturating_sub(1).min(5)).min(Duration::from_secs(1))
}

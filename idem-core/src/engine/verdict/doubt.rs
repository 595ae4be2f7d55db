//! The rows of the verdict table about runs that ended without an answer.

use std::ops::ControlFlow;

use super::RunEnd;
use crate::doubt::{DoubtCause, Happened};
use crate::handler_error::HandlerError;
use crate::outcome::{Decision, Outcome, Verdict};
use crate::policy::{Policy, UncertainRun};
use crate::store::Claim;

/// Returns the doubt that a run leaves. `began` says whether the handler was polled, outside of a transaction: what a
/// transaction did is undone with it.
pub fn doubt(end: &RunEnd, began: bool) -> Option<DoubtCause> {
    match end {
        RunEnd::Failed { is_uncertain: true, .. } => Some(DoubtCause::Uncertain),
        RunEnd::Panicked if began => Some(DoubtCause::Panicked),
        RunEnd::TimedOut if began => Some(DoubtCause::TimedOut),
        RunEnd::LeaseLost if began => Some(DoubtCause::LeaseLost),
        RunEnd::Shutdown if began => Some(DoubtCause::Shutdown),
        _ => None,
    }
}

/// Decides what follows from a check's answer, which is `None` where the check panicked: a run of the handler, or this end.
pub fn checked(answer: Option<Result<Happened, HandlerError>>) -> ControlFlow<RunEnd> {
    match answer {
        Some(Ok(Happened::Yes)) => ControlFlow::Break(RunEnd::Ok),
        Some(Ok(Happened::No)) => ControlFlow::Continue(()),
        Some(Ok(Happened::Unknown)) => {
            ControlFlow::Break(unknown("the check does not know what became of it"))
        }
        Some(Err(error)) => ControlFlow::Break(unknown(&error.to_string())),
        None => ControlFlow::Break(unknown("the check panicked")),
    }
}

/// The end of a check that has told nothing.
pub fn unknown(reason: &str) -> RunEnd {
    RunEnd::Unknown { reason: reason.into() }
}

/// The answer to a claim inside of a transaction. An earlier run's effect was undone with its transaction, so that only what the
/// handler said itself is a doubt.
pub fn claim_inside(answer: Claim) -> Claim {
    match answer {
        Claim::Claimed { fence, attempt, after } => {
            let after = after.filter(|doubt| doubt.cause == DoubtCause::Uncertain);
            Claim::Claimed { fence, attempt, after }
        }
        answer => answer,
    }
}

/// The decision for a key of which nobody knows whether its work was done. A person has to find out.
pub(super) fn in_doubt(attempt: u32, reason: &str) -> Decision {
    Decision::new(Verdict::DeadLetter, Outcome::Uncertain).attempt(attempt).because(format!(
        "{reason}; its effect may be there, so that it is not run again: find out, and decide with `admin`: `done` if it is; `run` if it \
         is not, and send the dead letter again"
    ))
}

/// Whether the message of a run that left this doubt is a dead letter at once. One that lost its lease or was shut down is
/// somebody else's, or the broker's, who finds the doubt in the record.
pub(super) fn is_held(policy: &Policy, doubt: Option<DoubtCause>) -> bool {
    policy.uncertain == UncertainRun::Hold
        && matches!(doubt, Some(DoubtCause::Uncertain | DoubtCause::Panicked | DoubtCause::TimedOut))
}

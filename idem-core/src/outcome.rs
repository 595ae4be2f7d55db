//! The outcome of a message.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The answer to the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The message is settled: ack it.
    Ack,
    /// Store a copy for a retry after this delay, then ack the original.
    Retry(Duration),
    /// Store a copy as a dead letter, then ack the original.
    DeadLetter,
    /// Neither ack nor send back: the process is going away, and the broker will deliver the message again.
    Leave,
}

/// The event: one value for each row of the verdict table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// The handler ran and its completion is recorded.
    Completed,
    /// The handler ran without dedup and returned `Ok`.
    CompletedWithoutDedup,
    /// The handler ran, lost its lease, and somebody else has completed the key meanwhile.
    CompletedElsewhere,
    /// The handler ran and returned `Ok`, but its completion could not be recorded.
    CompletionLost,
    /// The key was completed before; the handler did not run.
    Duplicate,
    /// The key is in progress elsewhere.
    InProgress,
    /// Its handler was busy, and so many messages waited that there was no room for others: sent back.
    Deferred,
    /// The handler returned an error.
    Failed,
    /// The handler panicked.
    Panicked,
    /// The handler took longer than its time-out and was cancelled.
    TimedOut,
    /// The last attempt failed.
    Exhausted,
    /// The handler gave up for good.
    Rejected,
    /// The lease was lost while the handler ran; it was cancelled.
    LeaseLost,
    /// The store did not answer the claim, and the policy says retry.
    StoreFailed,
    /// The handler has committed its transaction by itself and then failed, or went on: what it did before is there, what it
    /// did behind it is not, and it is not run again.
    CommittedByHandler,
    /// The handler's transaction was not committed, or nobody knows whether it was; the message is run again.
    TransactionFailed,
    /// The key is known under another payload.
    FingerprintMismatch,
    /// The payload does not decode.
    Undecodable,
    /// The message has no key, or an empty or over-long one.
    MissingKey,
    /// No handler in this process takes this message.
    NoHandler,
    /// The shutdown's drain was over first.
    Shutdown,
    /// It keeps the order of a message before it, which is to be tried again, and was not run.
    Waiting,
    /// A run of the key ended without an answer, and it is not to be run again before a person or a check has decided.
    Uncertain,
    /// The handler's check has said that an earlier run did the work; the handler did not run.
    FoundDone,
}

impl Outcome {
    /// All outcomes, each at the place of its discriminant.
    pub const ALL: [Self; 24] = [
        Self::Completed,
        Self::CompletedWithoutDedup,
        Self::CompletedElsewhere,
        Self::CompletionLost,
        Self::Duplicate,
        Self::InProgress,
        Self::Deferred,
        Self::Failed,
        Self::Panicked,
        Self::TimedOut,
        Self::Exhausted,
        Self::Rejected,
        Self::LeaseLost,
        Self::StoreFailed,
        Self::CommittedByHandler,
        Self::TransactionFailed,
        Self::FingerprintMismatch,
        Self::Undecodable,
        Self::MissingKey,
        Self::NoHandler,
        Self::Shutdown,
        Self::Waiting,
        Self::Uncertain,
        Self::FoundDone,
    ];

    /// The outcome's name in events and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::CompletedWithoutDedup => "completed_without_dedup",
            Self::CompletedElsewhere => "completed_elsewhere",
            Self::CompletionLost => "completion_lost",
            Self::Duplicate => "duplicate",
            Self::InProgress => "in_progress",
            Self::Deferred => "deferred",
            Self::Failed => "failed",
            Self::Panicked => "panicked",
            Self::TimedOut => "timed_out",
            Self::Exhausted => "exhausted",
            Self::Rejected => "rejected",
            Self::LeaseLost => "lease_lost",
            Self::StoreFailed => "store_failed",
            Self::CommittedByHandler => "committed_by_handler",
            Self::TransactionFailed => "transaction_failed",
            Self::FingerprintMismatch => "fingerprint_mismatch",
            Self::Undecodable => "undecodable",
            Self::MissingKey => "missing_key",
            Self::NoHandler => "no_handler",
            Self::Shutdown => "shutdown",
            Self::Waiting => "waiting",
            Self::Uncertain => "uncertain",
            Self::FoundDone => "found_done",
        }
    }

    /// Whether a run that returned `Ok` may be run, or have been run, a second time.
    pub const fn is_possible_double_run(self) -> bool {
        matches!(self, Self::CompletedElsewhere | Self::CompletionLost)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The decision for one message, and the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The answer to the broker.
    pub verdict: Verdict,
    /// The row of the verdict table.
    pub outcome: Outcome,
    /// Which attempt it was, counted from 1, also where the payload did not decode or the key was missing; 0 where nothing was
    /// attempted.
    pub attempt: u32,
    /// The words of the handler or the store, without keys and payloads of idem's own.
    pub reason: Option<Arc<str>>,
}

impl Decision {
    /// A decision without a run of the handler and without more to say.
    pub fn new(verdict: Verdict, outcome: Outcome) -> Self {
        Self { verdict, outcome, attempt: 0, reason: None }
    }

    /// Adds which attempt it was.
    #[must_use]
    pub fn attempt(mut self, attempt: u32) -> Self {
        self.attempt = attempt;
        self
    }

    /// Adds why.
    #[must_use]
    pub fn because(mut self, reason: impl Into<Arc<str>>) -> Self {
        self.reason = Some(reason.into());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_stands_at_its_place_under_a_name_of_its_own() {
        let mut names = std::collections::HashSet::new();
        for (index, outcome) in Outcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome as usize, index);
            assert!(names.insert(outcome.as_str()));
        }
    }
}

//! The policy of each handler: durations, attempts, and one choice for each row of the verdict table.

mod setters;

use std::time::Duration;

use crate::clock::{LONGEST, OutOfBounds, within};

/// The delays between attempts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backoff(Steps);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Steps {
    List(Vec<Duration>),
    Exponential { first: Duration, max: Duration },
}

/// As often as a nanosecond can be doubled before it is longer than any time.
const MOST_DOUBLINGS: u32 = 94;

impl Backoff {
    /// RocketMQ's delay levels from 10 s: 10 s, 30 s, 1 to 10 min by minutes, 20 min, 30 min, 1 h, 2 h.
    ///
    /// Source: `messageDelayLevel` of the broker's `MessageStoreConfig`; a consumer's retries start at level 3.
    pub fn levels() -> Self {
        const SECONDS: [u64; 16] =
            [10, 30, 60, 120, 180, 240, 300, 360, 420, 480, 540, 600, 1_200, 1_800, 3_600, 7_200];
        Self(Steps::List(SECONDS.map(Duration::from_secs).to_vec()))
    }

    /// The same delay before each attempt.
    pub fn fixed(delay: Duration) -> Self {
        Self(Steps::List(vec![delay]))
    }

    /// These delays in turn; the last one from then on. None at all means no delay.
    pub fn steps(delays: impl IntoIterator<Item = Duration>) -> Self {
        Self(Steps::List(delays.into_iter().collect()))
    }

    /// `first`, then twice as long each time, up to `max`.
    pub fn exponential(first: Duration, max: Duration) -> Self {
        Self(Steps::Exponential { first, max })
    }

    /// The longest delay of those that so many attempts have between them.
    fn longest(&self, attempts: u32) -> Duration {
        let last = attempts.saturating_sub(1).max(1);
        match &self.0 {
            Steps::List(delays) => {
                let used = usize::try_from(last).unwrap_or(usize::MAX);
                delays.iter().take(used).max().copied().unwrap_or_default()
            }
            Steps::Exponential { .. } => self.after(last),
        }
    }

    /// The delay after attempt number `attempt`, counted from 1.
    pub fn after(&self, attempt: u32) -> Duration {
        let index = attempt.saturating_sub(1);
        match &self.0 {
            Steps::List(delays) => {
                let index = usize::try_from(index).unwrap_or(usize::MAX).min(delays.len().saturating_sub(1));
                delays.get(index).copied().unwrap_or_default()
            }
            Steps::Exponential { first, max } => {
                let mut doublings = 0..index.min(MOST_DOUBLINGS);
                let delay = doublings.try_fold(*first, |delay, _| delay.checked_mul(2));
                delay.map_or(*max, |delay| delay.min(*max))
            }
        }
    }
}

/// So many attempts that none is the last one.
pub const UNLIMITED: u32 = u32::MAX;

/// The key is in progress elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InProgress {
    /// Retry after the remaining lease, or a backoff that grows to the handler's time-out, whichever is longer.
    /// Costs no attempt.
    Retry,
    /// Wait in place up to this bound first, then as [`Retry`](Self::Retry).
    Wait(Duration),
}

/// The store fails at claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreFailure {
    /// Wait and ask again until the store answers. Nothing is sent back, no attempt is counted.
    Hold,
    /// Run the handler without dedup: duplicates may run while the store is out of reach.
    Open,
    /// Send the message back for a retry. Costs no attempt of idem's.
    Retry,
}

/// The payload does not decode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Undecodable {
    /// Dead letter at once; held instead when more than half of the handler's last 100 messages end so.
    DeadLetter,
    /// Retry with the handler's backoff; after the last attempt a dead letter.
    Retry,
}

/// The message has no key, or an empty or over-long one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MissingKey {
    /// Dead letter at once; held instead when more than half of the handler's last 100 messages end so.
    DeadLetter,
    /// Retry with the handler's backoff; after the last attempt a dead letter.
    Retry,
    /// Run the handler without dedup.
    RunWithoutDedup,
}

/// The key is known under another payload, by the [`Fingerprint`](crate::Fingerprint) that came with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FingerprintMismatch {
    /// Payloads are not compared.
    Ignore,
    /// Dead letter at once.
    DeadLetter,
    /// Acked as a duplicate once the key is completed; the event says that the payload differs. While the key is in progress,
    /// it waits as an equal payload would, because that run may still fail.
    Duplicate,
    /// Run the handler for this payload too, without dedup.
    Run,
}

/// An earlier run of the key ended without an answer: nobody knows whether it had its effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UncertainRun {
    /// Run the handler again. It can take the [`Doubt`](crate::Doubt) and act on it.
    Run,
    /// Ask the handler's check before it is run again.
    Check,
    /// Never run it again: dead letter, until a person decides.
    Hold,
}

/// The settings of a handler, or a consumer's defaults; each that is `None` comes from the next one.
///
/// There is a method for each setting, as on a handler's route.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use = "settings do nothing until a handler or a consumer is given them"]
#[non_exhaustive]
pub struct Settings {
    /// How long a claim lasts without renewal.
    pub lease: Option<Duration>,
    /// How long a handler may run. `Duration::MAX`, as all above a hundred years, is for ever.
    pub timeout: Option<Duration>,
    /// How long a completion is remembered. `Duration::MAX`, as all above a hundred years, is for ever.
    pub retention: Option<Duration>,
    /// How many runs may fail before the message is a dead letter.
    pub max_attempts: Option<u32>,
    /// The delays between attempts.
    pub backoff: Option<Backoff>,
    /// How many messages a handler works on at once.
    pub concurrency: Option<usize>,
    /// The key is in progress elsewhere.
    pub in_progress: Option<InProgress>,
    /// The store fails at claim.
    pub store_failure: Option<StoreFailure>,
    /// The payload does not decode.
    pub undecodable: Option<Undecodable>,
    /// The message has no key, or an empty or over-long one.
    pub missing_key: Option<MissingKey>,
    /// The key is known under another payload.
    pub fingerprint: Option<FingerprintMismatch>,
    /// An earlier run ended without an answer.
    pub uncertain: Option<UncertainRun>,
}

impl Settings {
    /// Nothing said.
    pub fn new() -> Self {
        Self::default()
    }

    /// These settings, and `defaults` where they say nothing.
    pub fn or(self, defaults: &Self) -> Self {
        let d = defaults.clone();
        Self {
            lease: self.lease.or(d.lease),
            timeout: self.timeout.or(d.timeout),
            retention: self.retention.or(d.retention),
            max_attempts: self.max_attempts.or(d.max_attempts),
            backoff: self.backoff.or(d.backoff),
            concurrency: self.concurrency.or(d.concurrency),
            in_progress: self.in_progress.or(d.in_progress),
            store_failure: self.store_failure.or(d.store_failure),
            undecodable: self.undecodable.or(d.undecodable),
            missing_key: self.missing_key.or(d.missing_key),
            fingerprint: self.fingerprint.or(d.fingerprint),
            uncertain: self.uncertain.or(d.uncertain),
        }
    }

    /// The whole policy, with idem's defaults where nothing is said.
    ///
    /// # Errors
    /// Two durations disagree, a number is zero, or a time is too short or has no end; the error says which.
    pub fn resolve(&self) -> Result<Policy, PolicyError> {
        let default = Policy::default();
        let policy = Policy {
            lease: self.lease.unwrap_or(default.lease),
            timeout: self.timeout.unwrap_or(default.timeout).min(LONGEST),
            retention: self.retention.unwrap_or(default.retention).min(LONGEST),
            max_attempts: self.max_attempts.unwrap_or(default.max_attempts),
            backoff: self.backoff.clone().unwrap_or(default.backoff),
            concurrency: self.concurrency.unwrap_or(default.concurrency),
            in_progress: self.in_progress.unwrap_or(default.in_progress),
            store_failure: self.store_failure.unwrap_or(default.store_failure),
            undecodable: self.undecodable.unwrap_or(default.undecodable),
            missing_key: self.missing_key.unwrap_or(default.missing_key),
            fingerprint: self.fingerprint.unwrap_or(default.fingerprint),
            uncertain: self.uncertain.unwrap_or(default.uncertain),
        };
        policy.check()?;
        Ok(policy)
    }

    fn said(&mut self) -> &mut Self {
        self
    }
}

crate::setters! { Settings }

/// The whole of a handler's policy. [`Settings::resolve`] makes a checked one.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Policy {
    /// How long a claim lasts without renewal: 30 s.
    pub lease: Duration,
    /// How long a handler may run: 5 min.
    pub timeout: Duration,
    /// How long a completion is remembered: 4 days.
    pub retention: Duration,
    /// How many runs may fail before the message is a dead letter: 16.
    pub max_attempts: u32,
    /// The delays between attempts: the broker's levels from 10 s.
    pub backoff: Backoff,
    /// How many messages a handler works on at once: 64.
    pub concurrency: usize,
    /// The key is in progress elsewhere: retry.
    pub in_progress: InProgress,
    /// The store fails at claim: hold.
    pub store_failure: StoreFailure,
    /// The payload does not decode: dead letter.
    pub undecodable: Undecodable,
    /// The message has no key, or an empty or over-long one: dead letter.
    pub missing_key: MissingKey,
    /// The key is known under another payload: not compared.
    pub fingerprint: FingerprintMismatch,
    /// An earlier run ended without an answer: run again.
    pub uncertain: UncertainRun,
}

impl Policy {
    /// The same with no more messages at once than this.
    #[must_use]
    pub fn at_most_at_once(mut self, messages: usize) -> Self {
        self.concurrency = self.concurrency.min(messages.max(1));
        self
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(30),
            timeout: Duration::from_mins(5),
            retention: Duration::from_hours(4 * 24),
            max_attempts: 16,
            backoff: Backoff::levels(),
            concurrency: 64,
            in_progress: InProgress::Retry,
            store_failure: StoreFailure::Hold,
            undecodable: Undecodable::DeadLetter,
            missing_key: MissingKey::DeadLetter,
            fingerprint: FingerprintMismatch::Ignore,
            uncertain: UncertainRun::Run,
        }
    }
}

/// The shortest lease: below it, renewals at a third of the lease are lost in a machine's ordinary pauses.
pub const MIN_LEASE: Duration = Duration::from_millis(100);

/// The retention below which a start-up warns: the 72 h for which a broker keeps messages, and its retries.
pub const ADVISED_RETENTION: Duration = Duration::from_hours(72);

/// Two settings that disagree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// A completion would be forgotten while its run may still hold the lease.
    #[error(
        "lease ({lease:?}) is longer than retention ({retention:?}): make retention longer, or the lease shorter"
    )]
    LeaseOverRetention {
        /// The lease.
        lease: Duration,
        /// The retention.
        retention: Duration,
    },
    /// A retry of a run that took its whole time could not find its record.
    #[error(
        "timeout ({timeout:?}) is longer than retention ({retention:?}): make retention longer, or the timeout shorter"
    )]
    TimeoutOverRetention {
        /// The handler's time-out.
        timeout: Duration,
        /// The retention.
        retention: Duration,
    },
    /// Waiting in place for a key takes longer than any run of it.
    #[error("in_progress wait ({wait:?}) is longer than timeout ({timeout:?}): make the wait shorter")]
    WaitOverTimeout {
        /// The wait.
        wait: Duration,
        /// The handler's time-out.
        timeout: Duration,
    },
    /// A delay between attempts is so long that the record with their number is gone.
    #[error(
        "a backoff delay ({delay:?}) is not shorter than retention ({retention:?}): make retention longer, or the backoff shorter"
    )]
    BackoffOverRetention {
        /// The longest delay.
        delay: Duration,
        /// The retention.
        retention: Duration,
    },
    /// The lease is shorter than [`MIN_LEASE`].
    #[error("lease ({0:?}) is shorter than {MIN_LEASE:?}: renewals could not keep it")]
    LeaseTooShort(Duration),
    /// A number or duration that must not be zero is.
    #[error("{0} is zero: it must be at least one")]
    Zero(&'static str),
    /// A time that has no meaning without an end.
    #[error("{0}")]
    OutOfBounds(OutOfBounds),
}

impl Policy {
    fn check(&self) -> Result<(), PolicyError> {
        if self.concurrency == 0 {
            return Err(PolicyError::Zero("concurrency"));
        }
        if self.max_attempts == 0 {
            return Err(PolicyError::Zero("max_attempts"));
        }
        if self.timeout.is_zero() {
            return Err(PolicyError::Zero("timeout"));
        }
        if self.lease < MIN_LEASE {
            return Err(PolicyError::LeaseTooShort(self.lease));
        }
        let delay = self.backoff.longest(self.max_attempts);
        let wait = if let InProgress::Wait(wait) = self.in_progress { wait } else { Duration::ZERO };
        // A time-out and a retention may be for ever; one of these would make a message wait for ever.
        for (what, time) in [("lease", self.lease), ("backoff", delay), ("in_progress wait", wait)] {
            within(what, time, Duration::ZERO..=LONGEST).map_err(PolicyError::OutOfBounds)?;
        }
        if self.lease > self.retention {
            return Err(PolicyError::LeaseOverRetention { lease: self.lease, retention: self.retention });
        }
        if self.timeout > self.retention {
            return Err(PolicyError::TimeoutOverRetention {
                timeout: self.timeout,
                retention: self.retention,
            });
        }
        if wait > self.timeout {
            return Err(PolicyError::WaitOverTimeout { wait, timeout: self.timeout });
        }
        if delay >= self.retention {
            return Err(PolicyError::BackoffOverRetention { delay, retention: self.retention });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;

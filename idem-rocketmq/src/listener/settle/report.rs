//! One event and one count for each outcome.

use std::sync::OnceLock;
use std::time::Duration;

use idem_core::{Decision, Outcome, Verdict};
use metrics::{Counter, Histogram};

use crate::client::Delivery;

const OUTCOMES: usize = Outcome::ALL.len();

/// A handler's counters, registered at first use.
pub(crate) struct Meter {
    group: String,
    topic: String,
    handler: String,
    outcomes: [OnceLock<Counter>; OUTCOMES],
    seconds: OnceLock<Histogram>,
    batches: OnceLock<Histogram>,
    double_runs: OnceLock<Counter>,
}

impl Meter {
    pub(in crate::listener) fn new(group: &str, topic: &str, handler: &str) -> Self {
        Self {
            group: group.to_owned(),
            topic: topic.to_owned(),
            handler: handler.to_owned(),
            outcomes: [const { OnceLock::new() }; OUTCOMES],
            seconds: OnceLock::new(),
            batches: OnceLock::new(),
            double_runs: OnceLock::new(),
        }
    }

    /// Notes how long a run of the handler took.
    pub(in crate::listener) fn ran(&self, took: Duration) {
        self.seconds.get_or_init(|| self.histogram("idem_handler_seconds")).record(took);
    }

    /// Notes how many messages a call of a batch handler has.
    pub(in crate::listener) fn batch(&self, messages: usize) {
        let messages = u32::try_from(messages).unwrap_or(u32::MAX);
        self.batches.get_or_init(|| self.histogram("idem_handler_batch_messages")).record(messages);
    }

    fn count(&self, outcome: Outcome) {
        self.outcomes[outcome as usize].get_or_init(|| self.outcome_counter(outcome)).increment(1);
        if outcome.is_possible_double_run() {
            self.double_runs.get_or_init(|| self.counter("idem_possible_double_run_total")).increment(1);
        }
    }

    fn outcome_counter(&self, outcome: Outcome) -> Counter {
        let Self { group, topic, handler, .. } = self;
        metrics::counter!(
            "idem_messages_total",
            "group" => group.clone(), "topic" => topic.clone(), "handler" => handler.clone(),
            "outcome" => outcome.as_str()
        )
    }

    fn counter(&self, name: &'static str) -> Counter {
        let Self { group, topic, handler, .. } = self;
        metrics::counter!(name, "group" => group.clone(), "topic" => topic.clone(), "handler" => handler.clone())
    }

    fn histogram(&self, name: &'static str) -> Histogram {
        let Self { group, topic, handler, .. } = self;
        metrics::histogram!(name, "group" => group.clone(), "topic" => topic.clone(), "handler" => handler.clone())
    }

    /// The one event and the one count of a message's outcome.
    pub(in crate::listener) fn outcome(
        &self,
        delivery: &Delivery,
        decision: &Decision,
        key_hash: Option<u64>,
    ) {
        self.count(decision.outcome);
        event(&self.handler, delivery, decision, key_hash);
    }
}

/// One event for each outcome: what went as it should at `DEBUG`, what comes again at `INFO` or `WARN`, what ends
/// in the dead-letter queue or may have run twice at `ERROR`.
fn event(handler: &str, delivery: &Delivery, decision: &Decision, key_hash: Option<u64>) {
    macro_rules! emit {
        ($level:ident, $text:literal) => {
            tracing::event!(
                tracing::Level::$level,
                group = delivery.group(),
                topic = delivery.topic(),
                tag = delivery.tag(),
                message_id = delivery.message_id(),
                handler,
                outcome = decision.outcome.as_str(),
                attempt = decision.attempt,
                key_hash = key_hash.map(|hash| tracing::field::display(format!("{hash:016x}"))),
                reason = decision.reason.as_deref(),
                $text
            )
        };
    }
    match (decision.outcome, decision.verdict) {
        (outcome, _) if outcome.is_possible_double_run() => {
            emit!(ERROR, "a completion could not be recorded in time: the handler may run twice");
        }
        (Outcome::NoHandler, _) => emit!(ERROR, "no handler of this process takes the message"),
        (_, Verdict::DeadLetter) => emit!(ERROR, "message becomes a dead letter"),
        (Outcome::InProgress, _) => emit!(INFO, "key is in progress elsewhere, message is retried"),
        (Outcome::FingerprintMismatch, _) => emit!(WARN, "key is known under another payload"),
        (_, Verdict::Retry(_)) => emit!(WARN, "message is retried"),
        (_, Verdict::Leave) => emit!(INFO, "message is left to the broker"),
        (_, Verdict::Ack) => emit!(DEBUG, "message is done"),
    }
}

/// The event of a message that no handler takes, which has no meter of its own.
pub(in crate::listener) fn unhandled(delivery: &Delivery, decision: &Decision) {
    metrics::counter!(
        "idem_messages_total",
        "group" => delivery.group().to_owned(), "topic" => delivery.topic().to_owned(),
        "handler" => "", "outcome" => decision.outcome.as_str()
    )
    .increment(1);
    event("", delivery, decision, None);
}

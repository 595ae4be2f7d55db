//! What the broker is told: a stored copy for a retry, or a dead letter.

use std::time::Duration;

use idem_core::engine::Settled;
use idem_core::{Decision, Outcome, RecordKey, Verdict};
use rocketmq_model::common::message::message_ext::MessageExt;

use super::Bridge;
use super::broker::Properties;
use crate::client::ClientError;
use crate::delivery::Delivery;

/// Why a message was retried or became a dead letter.
pub(crate) const REASON: &str = "IDEM_REASON";
/// The name of the outcome.
pub(crate) const OUTCOME: &str = "IDEM_OUTCOME";
/// How many runs of the handler have failed.
pub(crate) const ATTEMPTS: &str = "IDEM_ATTEMPTS";
/// The idempotency key, for people.
pub(crate) const KEY: &str = "IDEM_KEY";

/// The longest reason or key that goes into a property, in bytes: a broker bounds all of them together at 32 KiB.
const LONGEST: usize = 1_024;

/// The attempts that an earlier copy of the message carries.
pub(super) fn attempts(delivery: &Delivery) -> u32 {
    delivery.property(ATTEMPTS).and_then(|text| text.parse().ok()).unwrap_or_default()
}

/// How many attempts have failed with this decision. Without a key there is no record that counts.
pub(super) fn failures(decision: &Decision, before: u32) -> u32 {
    match decision.outcome {
        Outcome::Failed
        | Outcome::Panicked
        | Outcome::TimedOut
        | Outcome::Exhausted
        | Outcome::Rejected
        | Outcome::CommittedByHandler => decision.attempt,
        Outcome::Undecodable | Outcome::MissingKey => before.saturating_add(1),
        _ => before,
    }
}

/// A message for which this process has no handler is never acked: another member of the group may have one.
pub(crate) fn no_handler(delivery: &Delivery) -> Decision {
    let delay = idem_core::Backoff::levels().after(delivery.reconsume_times().saturating_add(1));
    Decision::new(Verdict::Retry(delay), Outcome::NoHandler).because(
        "no handler of this process takes this topic and tag: deploy the handler to every member of the group, \
         or remove the tag from what is sent",
    )
}

impl Bridge {
    /// Has the broker store a copy of the message, and asks again until it does. `false` where the consumer was
    /// stopped first, so that the message is left to the broker as it is.
    ///
    /// Invariant 5: the message is acked only after the broker has confirmed the copy.
    pub(super) async fn tell(
        &self,
        source: &MessageExt,
        delivery: &Delivery,
        key: Option<&RecordKey>,
        settled: Settled,
        failed: u32,
    ) -> bool {
        let Settled { decision, held } = settled;
        let properties = properties(key, &decision, failed);
        let mut failures = 0_u32;
        loop {
            match self.tell_once(source, &decision, &properties).await {
                Some(Ok(())) => break,
                None => return false,
                Some(Err(error)) => self.report_untold(delivery, &error, failures),
            }
            failures = failures.saturating_add(1);
            let pause = Duration::from_millis(100 << failures.min(5));
            if self.engine.stopped_within(pause).await {
                return false;
            }
        }
        if let Some(held) = held {
            held.release(&decision).await;
        }
        true
    }

    async fn tell_once(
        &self,
        source: &MessageExt,
        decision: &Decision,
        properties: &[(String, String)],
    ) -> Option<Result<(), ClientError>> {
        let client = self.client().await?;
        Some(match decision.verdict {
            Verdict::Retry(delay) => client.retry(source, delay, properties.to_vec()).await,
            Verdict::DeadLetter => client.dead_letter(source, properties.to_vec()).await,
            Verdict::Ack | Verdict::Leave => Ok(()),
        })
    }

    fn report_untold(&self, delivery: &Delivery, error: &ClientError, failures: u32) {
        metrics::counter!("idem_send_failures_total", "group" => self.group.to_string()).increment(1);
        if failures == 0 || failures.is_multiple_of(30) {
            tracing::warn!(
                group = &*self.group,
                topic = delivery.topic(),
                message_id = delivery.message_id(),
                failures,
                %error,
                "the broker has not confirmed a retry or dead letter: the message is held and sent again"
            );
        }
    }
}

fn properties(key: Option<&RecordKey>, decision: &Decision, failures: u32) -> Properties {
    let mut properties = Vec::with_capacity(4);
    let mut put = |name: &str, value: String| properties.push((name.to_owned(), value));
    put(OUTCOME, decision.outcome.as_str().to_owned());
    put(ATTEMPTS, failures.to_string());
    if let Some(reason) = &decision.reason {
        put(REASON, shortened(reason));
    }
    if let Some(key) = key {
        put(KEY, shortened(&key.key().to_string_lossy()));
    }
    properties
}

fn shortened(text: &str) -> String {
    let end = text.floor_char_boundary(LONGEST);
    text[..end].to_owned()
}

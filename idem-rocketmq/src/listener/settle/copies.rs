//! The copies of messages that the broker stores: a retry, or a dead letter.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use idem_core::engine::Settled;
use idem_core::{Decision, RecordKey, Verdict};

use crate::client::{
    ATTEMPTS, ClientError, CopyExtent, CopyPurpose, DUE, Delivery, KEY, OUTCOME, REASON, Received, Retry,
};
use crate::listener::Bridge;

/// A broker's timer may come that much before its time, and clocks differ.
const EARLY: Duration = Duration::from_millis(1_500);

/// The longest reason or key that goes into a property, in bytes: a broker bounds all of them together at 32 KiB.
const LONGEST: usize = 1_024;

/// The attempts that an earlier copy of the message carries.
pub(in crate::listener) fn attempts(delivery: &Delivery) -> u32 {
    delivery.property(ATTEMPTS).and_then(|text| text.parse().ok()).unwrap_or_default()
}

/// The rest of a retry's delay, if the broker had no delay as long as that or did not keep it.
pub(in crate::listener) fn left_to_wait(delivery: &Delivery) -> Option<Duration> {
    let millis = |text: &str| text.parse().ok().map(Duration::from_millis);
    let (due, delay) = delivery.property(DUE)?.split_once(',')?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    let left = millis(due)?.checked_sub(now)?;
    // Where more is left than there was, the clocks of two members differ by more than the delay.
    let is_sure = left > EARLY && left <= millis(delay)?;
    is_sure.then_some(left)
}

impl Bridge {
    /// Has the broker store a copy of the message, and asks again until it does. `false` where the consumer was
    /// stopped first, so that the message is left to the broker as it is.
    ///
    /// Invariant 5: the message is acked only after the broker has confirmed the copy.
    pub(in crate::listener) async fn store_copy(
        &self,
        source: &Received<'_>,
        delivery: &Delivery,
        key: Option<&RecordKey>,
        settled: Settled,
        failed: u32,
    ) -> bool {
        let Settled { decision, held } = settled;
        let properties = properties(key, &decision, failed);
        let is_stored = match decision.verdict {
            Verdict::Ack | Verdict::Leave => true,
            Verdict::Retry(delay) => {
                let retry = || CopyPurpose::Retry(Retry { delay, properties: properties.clone() });
                self.copied(source, delivery, retry, &properties).await
            }
            Verdict::DeadLetter => {
                self.copied(source, delivery, || CopyPurpose::DeadLetter(properties.clone()), &properties)
                    .await
            }
        };
        if let (true, Some(held)) = (is_stored, held) {
            held.release(&decision).await;
        }
        is_stored
    }

    /// Has a retry that came before its time go on waiting; as [`store_copy`](Self::store_copy).
    pub(in crate::listener) async fn pass_on(
        &self,
        source: &Received<'_>,
        delivery: &Delivery,
        left: Duration,
    ) -> bool {
        metrics::counter!("idem_early_retries_total", "group" => self.group.to_string()).increment(1);
        tracing::debug!(
            group = &*self.group,
            topic = delivery.topic(),
            message_id = delivery.message_id(),
            ?left,
            "a retry came before its time: it goes on waiting, and no attempt is counted"
        );
        self.copied(source, delivery, || CopyPurpose::Onward(left), &Vec::new()).await
    }

    /// Asks for a copy until a broker has one. One that is too large is asked for with less of the message, because the
    /// same would be refused for ever. While the group may have no copies at all, the message is held.
    async fn copied(
        &self,
        source: &Received<'_>,
        delivery: &Delivery,
        purpose: impl Fn() -> CopyPurpose,
        properties: &[(String, String)],
    ) -> bool {
        let (mut failures, mut smaller) = (0_u32, None);
        loop {
            let Some(client) = self.client().await else { return false };
            let asking = match smaller {
                None => client.copy(source, purpose(), CopyExtent::Full),
                Some(SmallerCopy::Retry) => client.copy(source, purpose(), CopyExtent::Bare),
                Some(SmallerCopy::DeadLetter(extent)) => {
                    client.copy(source, CopyPurpose::DeadLetter(properties.to_vec()), extent)
                }
            };
            let Err(error) = asking.await else { return true };
            if let (true, Some(next)) = (error.is_too_large(), SmallerCopy::after(smaller, &purpose())) {
                self.report_smaller(delivery, &error, next);
                smaller = Some(next);
                continue;
            }
            self.report_unconfirmed(delivery, &error, failures);
            failures = failures.saturating_add(1);
            let pause = Duration::from_millis(100 << failures.min(5));
            // A shutdown does not wait for what will not come.
            let is_over = if error.is_refusal() {
                self.engine.closed_within(pause).await
            } else {
                self.engine.stopped_within(pause).await
            };
            if is_over {
                return false;
            }
        }
    }

    fn report_smaller(&self, delivery: &Delivery, error: &ClientError, next: SmallerCopy) {
        metrics::counter!("idem_copies_cut_total", "group" => self.group.to_string()).increment(1);
        tracing::error!(
            group = &*self.group,
            topic = delivery.topic(),
            message_id = delivery.message_id(),
            queue = delivery.queue(),
            offset = delivery.offset(),
            %error,
            "a broker takes no copy of the message for its size: {}",
            next.as_str()
        );
    }

    fn report_unconfirmed(&self, delivery: &Delivery, error: &ClientError, failures: u32) {
        metrics::counter!("idem_send_failures_total", "group" => self.group.to_string()).increment(1);
        if failures != 0 && !failures.is_multiple_of(30) {
            return;
        }
        if error.is_refusal() {
            metrics::counter!("idem_copies_refused_total", "group" => self.group.to_string()).increment(1);
            tracing::error!(
                group = &*self.group,
                topic = delivery.topic(),
                message_id = delivery.message_id(),
                failures,
                %error,
                "the broker takes no retries and dead letters of the group: the message is held, and a shutdown leaves it to \
                 the broker"
            );
        } else {
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

/// The copy that is tried next when the whole message is too large.
#[derive(Clone, Copy)]
enum SmallerCopy {
    /// The message alone, for another attempt.
    Retry,
    /// A dead letter of it.
    DeadLetter(CopyExtent),
}

impl SmallerCopy {
    fn after(smaller: Option<Self>, purpose: &CopyPurpose) -> Option<Self> {
        match (smaller, purpose) {
            (None, CopyPurpose::Retry(_) | CopyPurpose::Onward(_)) => Some(Self::Retry),
            (None, CopyPurpose::DeadLetter(_)) | (Some(Self::Retry), _) => {
                Some(Self::DeadLetter(CopyExtent::Bare))
            }
            (Some(Self::DeadLetter(CopyExtent::Full | CopyExtent::Bare)), _) => {
                Some(Self::DeadLetter(CopyExtent::Reference))
            }
            (Some(Self::DeadLetter(CopyExtent::Reference)), _) => None,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Retry => "it is retried without idem's properties",
            Self::DeadLetter(CopyExtent::Full | CopyExtent::Bare) => {
                "it becomes a dead letter without idem's properties"
            }
            Self::DeadLetter(CopyExtent::Reference) => {
                "it becomes a dead letter that says where the message is, and the message itself is kept in its topic alone"
            }
        }
    }
}

/// The most important ones first.
fn properties(key: Option<&RecordKey>, decision: &Decision, failures: u32) -> Vec<(String, String)> {
    let mut properties = Vec::with_capacity(4);
    let mut put = |name: &str, value: String| properties.push((name.to_owned(), value));
    put(ATTEMPTS, failures.to_string());
    put(OUTCOME, decision.outcome.as_str().to_owned());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retry_that_came_early_has_its_rest_to_wait_unless_the_clocks_differ() {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let left = |due: Duration, delay: u64| {
            let text = format!("{},{delay}", due.as_millis());
            left_to_wait(&Delivery::builder("orders").property(DUE, text).build())
        };
        let secs = Duration::from_secs;
        let wait = left(now + secs(50), 60_000).unwrap();
        assert!(wait > secs(45) && wait <= secs(50), "{wait:?}");
        assert_eq!(left(now + secs(1), 60_000), None, "a timer is as early as that");
        assert_eq!(left(now.saturating_sub(secs(100)), 60_000), None);
        assert_eq!(left(now + secs(3_600), 60_000), None, "a clock is an hour late");
        for text in ["", "1", ",", "99999999999999999999999,1", "x,1"] {
            assert_eq!(
                left_to_wait(&Delivery::builder("orders").property(DUE, text).build()),
                None,
                "{text}"
            );
        }
    }
}

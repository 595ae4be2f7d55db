//! Messages that cannot be handled, and what guards a topic against a bad deploy.

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::Semaphore;

use super::Gate;
use super::ticket::{Admission, Settled};
use super::verdict::{self, AdmitUnfit, Unfit};

/// Half of the last 100 messages.
const MOST: usize = 50;

/// How many unfit messages may still become dead letters: each takes one from it, each fit message gives one back,
/// up to half of the last 100. So dead letters can never be more than half of what goes through for long, whatever
/// the order, and the messages that are held go on in their order, one for each fit one.
pub(crate) struct Tolerance(Semaphore);

impl Default for Tolerance {
    fn default() -> Self {
        Self(Semaphore::new(MOST))
    }
}

impl Tolerance {
    fn fit(&self) {
        if self.0.available_permits() < MOST {
            self.0.add_permits(1);
        }
    }

    /// Whether one may become a dead letter at once.
    fn unfit(&self) -> bool {
        self.0.try_acquire().map(tokio::sync::SemaphorePermit::forget).is_ok()
    }

    /// Waits until one may.
    async fn unfit_later(&self) {
        match self.0.acquire().await {
            Ok(permit) => permit.forget(),
            Err(_closed) => std::future::pending().await,
        }
    }
}

/// The admission of a message that cannot be handled.
#[must_use]
pub struct UnfitAdmission {
    /// Whether the message is held before.
    pub is_held: bool,
    /// The result of its admission. Nothing is lost when it is dropped: the message stays as it is.
    pub admission: BoxFuture<'static, Admission>,
}

impl Gate {
    /// Notes a message that decodes and has a key.
    pub fn fit(&self) {
        self.0.tolerance.fit();
    }

    /// Admits a message that does not decode or has no key, as the policy says. `attempt` is the broker's count.
    ///
    /// Where more than half of the handler's last 100 messages are unfit, the message is held, neither acked nor
    /// sent back, until that has changed or the engine is stopped: a bad deploy must not empty a topic into the
    /// dead-letter queue.
    ///
    /// The message is noted by the call and not by the admission, as [`fit`](Self::fit) notes the others: were it
    /// later, a burst of good and bad messages would end with all the bad ones, and hold itself for good.
    pub fn unfit(&self, what: Unfit, reason: String, attempt: u32) -> UnfitAdmission {
        let verdict = verdict::unfit(self.policy(), what, attempt, &*reason);
        let is_held = matches!(verdict, AdmitUnfit::DeadLetter(_)) && !self.0.tolerance.unfit();
        let gate = self.clone();
        let admission = async move {
            let decision = match verdict {
                AdmitUnfit::RunWithoutDedup => return gate.admit_without_dedup(attempt).await,
                AdmitUnfit::DeadLetter(_) if is_held && !gate.held(what, &reason).await => {
                    return Admission::Decided(Settled::leave());
                }
                AdmitUnfit::Decide(decision) | AdmitUnfit::DeadLetter(decision) => decision,
            };
            Admission::Decided(Settled::of(decision))
        };
        UnfitAdmission { is_held, admission: admission.boxed() }
    }

    /// Waits while the topic looks as if a bad deploy read it. `false` when the engine was stopped first.
    async fn held(&self, what: Unfit, reason: &str) -> bool {
        metrics::counter!("idem_unfit_holds_total").increment(1);
        tracing::error!(
            handler = &*self.0.name,
            ?what,
            reason,
            "more than half of this handler's last 100 messages cannot be handled, so this one is held \
             instead of becoming a dead letter: check the payload's type and the codec, deploy the right version, \
             or remove the messages from the topic"
        );
        tokio::select! {
            biased;
            () = self.0.engine.closing.cancelled() => false,
            () = self.0.tolerance.unfit_later() => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_ready(future: impl Future<Output = ()>) -> bool {
        future.now_or_never().is_some()
    }

    #[test]
    fn half_of_the_last_hundred_may_be_unfit_and_no_more() {
        let tolerance = Tolerance::default();
        (0..1_000).for_each(|_| tolerance.fit());
        (0..MOST).for_each(|_| assert!(tolerance.unfit()));
        assert!(!tolerance.unfit(), "a long good time is no credit for more");
        for _ in 0..1_000 {
            tolerance.fit();
            assert!(tolerance.unfit(), "as many good as bad ones go on for ever");
        }
    }

    #[tokio::test]
    async fn each_fit_message_lets_one_that_is_held_go_on() {
        let tolerance = Tolerance::default();
        while tolerance.unfit() {}
        let (mut first, mut second) = (Box::pin(tolerance.unfit_later()), Box::pin(tolerance.unfit_later()));
        assert!(!is_ready(&mut first) && !is_ready(&mut second));
        tolerance.fit();
        assert!(is_ready(&mut first) && !is_ready(&mut second));
        tolerance.fit();
        assert!(is_ready(&mut second));
    }
}

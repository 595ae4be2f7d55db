//! How many of a handler's last messages were unfit: what guards a topic against a bad deploy.

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::Gate;
use super::claim::Admission;
use super::settle::Settled;
use crate::outcome::{Decision, Outcome, Verdict};
use crate::policy::{MissingKey, Undecodable};

/// How many messages are looked back on.
const LENGTH: usize = 100;

/// The handler's last 100 messages, each fit or unfit (undecodable, without a key). What has not been seen yet
/// counts as fit.
pub(crate) struct Window {
    last: Mutex<Last>,
    changed: Notify,
}

struct Last {
    unfit: [bool; LENGTH],
    next: usize,
    count: usize,
    /// How often the window has turned good.
    turns: u64,
}

impl Default for Window {
    fn default() -> Self {
        Self { last: Mutex::new(Last { unfit: [false; LENGTH], next: 0, count: 0, turns: 0 }), changed: Notify::new() }
    }
}

impl Window {
    pub(crate) fn fit(&self) {
        self.push(false);
    }

    pub(crate) fn unfit(&self) {
        self.push(true);
    }

    /// Whether more than half of the last messages were unfit.
    pub(crate) fn is_bad(&self) -> bool {
        self.last.lock().count > LENGTH / 2
    }

    /// Waits until no more than half of the last messages are unfit, were it for one moment: where good and bad
    /// ones come mixed, the window has often turned bad again before all who wait have looked.
    pub(crate) async fn good(&self) {
        let since = self.last.lock().turns;
        loop {
            let changed = self.changed.notified();
            if !self.is_bad() || self.last.lock().turns != since {
                return;
            }
            changed.await;
        }
    }

    fn push(&self, unfit: bool) {
        let mut last = self.last.lock();
        let next = last.next;
        let was = std::mem::replace(&mut last.unfit[next], unfit);
        last.next = (next + 1) % LENGTH;
        last.count = last.count + usize::from(unfit) - usize::from(was);
        let turned_good = was && !unfit && last.count == LENGTH / 2;
        last.turns += u64::from(turned_good);
        drop(last);
        if turned_good {
            self.changed.notify_waiters();
        }
    }
}

/// Why a message cannot be handled at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    /// The payload does not decode.
    Undecodable,
    /// There is no key, or an empty or over-long one.
    MissingKey,
}

enum Choice {
    DeadLetter,
    Retry,
    Run,
}

impl Gate {
    /// Notes a message that decodes and has a key.
    pub fn fit(&self) {
        self.0.window.fit();
    }

    /// Admits a message that does not decode or has no key, as the policy says. `attempt` is the broker's count.
    ///
    /// Where more than half of the handler's last 100 messages are unfit, the message is held, neither acked nor
    /// sent back, until that has changed or the engine is stopped: a bad deploy must not empty a topic into the
    /// dead-letter queue.
    ///
    /// # Cancel safety
    /// Nothing is lost when this is dropped: the message stays as it is.
    pub async fn unfit(&self, what: Unfit, reason: &str, attempt: u32) -> Admission {
        let outcome = match what {
            Unfit::Undecodable => Outcome::Undecodable,
            Unfit::MissingKey => Outcome::MissingKey,
        };
        let verdict = match self.choice(what) {
            Choice::Run => return self.admit_without_dedup(attempt).await,
            Choice::Retry if attempt < self.policy().max_attempts => {
                Verdict::Retry(self.policy().backoff.after(attempt))
            }
            Choice::Retry => Verdict::DeadLetter,
            Choice::DeadLetter => {
                if !self.may_dead_letter(what, reason).await {
                    return Admission::Decided(Settled::leave());
                }
                Verdict::DeadLetter
            }
        };
        Admission::Decided(Settled::of(Decision::new(verdict, outcome).because(reason)))
    }

    fn choice(&self, what: Unfit) -> Choice {
        let policy = self.policy();
        match what {
            Unfit::Undecodable => match policy.undecodable {
                Undecodable::DeadLetter => Choice::DeadLetter,
                Undecodable::Retry => Choice::Retry,
            },
            Unfit::MissingKey => match policy.missing_key {
                MissingKey::DeadLetter => Choice::DeadLetter,
                MissingKey::Retry => Choice::Retry,
                MissingKey::RunWithoutDedup => Choice::Run,
            },
        }
    }

    /// Waits while the topic looks as if a bad deploy read it. `false` when the engine was stopped first.
    async fn may_dead_letter(&self, what: Unfit, reason: &str) -> bool {
        let window = &self.0.window;
        window.unfit();
        if !window.is_bad() {
            return true;
        }
        metrics::counter!("idem_unfit_holds_total").increment(1);
        tracing::error!(
            handler = &*self.0.name,
            ?what,
            reason,
            "more than half of this handler's last {LENGTH} messages cannot be handled, so this one is held \
             instead of becoming a dead letter: check the payload's type and the codec, deploy the right version, \
             or remove the messages from the topic"
        );
        tokio::select! {
            biased;
            () = self.0.engine.closing.cancelled() => false,
            () = window.good() => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_half_of_the_last_hundred_is_bad_and_recovers() {
        let window = Window::default();
        (0..50).for_each(|_| window.unfit());
        assert!(!window.is_bad());
        window.unfit();
        assert!(window.is_bad());
        (0..49).for_each(|_| window.fit());
        assert!(window.is_bad(), "the unfit ones are still among the last hundred");
        window.fit();
        assert!(!window.is_bad(), "the first unfit one has left the window");
    }

    #[tokio::test]
    async fn who_waits_goes_on_also_when_the_window_is_bad_again_before_he_looks() {
        let window = Window::default();
        (0..51).for_each(|_| window.unfit());
        let mut waiting = Box::pin(window.good());
        assert!(futures_util::poll!(&mut waiting).is_pending());
        (0..50).for_each(|_| window.fit());
        (0..51).for_each(|_| window.unfit());
        assert!(window.is_bad());
        assert!(futures_util::poll!(&mut waiting).is_ready());
    }
}

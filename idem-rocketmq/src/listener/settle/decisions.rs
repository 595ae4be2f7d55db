//! The decisions of a listener call, for a consumer without a broker.

use std::sync::atomic::{AtomicBool, Ordering};

use idem_core::Decision;
use idem_core::engine::{Unfit, verdict};
use parking_lot::Mutex;
use tokio::sync::Notify;

/// The first decision of each message of a call.
pub(in crate::listener) struct Decisions {
    of: Mutex<Vec<FirstDecision>>,
    changed: Notify,
    is_over: AtomicBool,
}

#[derive(Clone)]
enum FirstDecision {
    Open,
    /// The message is held, because too many of its handler's messages cannot be handled.
    Held(Unfit),
    /// The message keeps the order of one that is held.
    BehindHeld,
    Decided(Decision),
}

impl Decisions {
    /// For a call with so many messages.
    pub(in crate::listener) fn of(messages: usize) -> Self {
        Self {
            of: Mutex::new(vec![FirstDecision::Open; messages]),
            changed: Notify::new(),
            is_over: AtomicBool::new(false),
        }
    }

    pub(in crate::listener) fn decided(&self, place: usize, decision: &Decision) {
        let noted = &mut self.of.lock()[place];
        if !matches!(noted, FirstDecision::Decided(_)) {
            *noted = FirstDecision::Decided(decision.clone());
        }
        self.changed.notify_one();
    }

    /// A message is held, and those behind it wait with it.
    pub(in crate::listener) fn held(&self, place: usize, what: Unfit, behind: impl Iterator<Item = usize>) {
        let mut noted = self.of.lock();
        let mut note = |place: usize, as_what| match &mut noted[place] {
            FirstDecision::Decided(_) => {}
            noted => *noted = as_what,
        };
        note(place, FirstDecision::Held(what));
        behind.for_each(|place| note(place, FirstDecision::BehindHeld));
        drop(noted);
        self.changed.notify_one();
    }

    /// The call is over.
    pub(in crate::listener) fn end(&self) {
        self.is_over.store(true, Ordering::Release);
        self.changed.notify_one();
    }

    /// Waits until each message is decided or held, or the call is over. Whether some are held.
    pub(in crate::listener) async fn settled(&self) -> bool {
        loop {
            {
                let noted = self.of.lock();
                let is_open = noted.iter().any(|noted| matches!(noted, FirstDecision::Open));
                if !is_open || self.is_over.load(Ordering::Acquire) {
                    return noted.iter().any(|noted| matches!(noted, FirstDecision::Held(_)));
                }
            }
            self.changed.notified().await;
        }
    }

    /// The decisions. A message that was neither decided nor held keeps the order of one that is to be tried again.
    pub(in crate::listener) fn get(&self) -> Vec<Decision> {
        let noted = self.of.lock();
        let decision = |noted: &FirstDecision| match noted {
            FirstDecision::Decided(decision) => decision.clone(),
            FirstDecision::Held(what) => verdict::held(*what),
            FirstDecision::BehindHeld | FirstDecision::Open => verdict::waits(),
        };
        noted.iter().map(decision).collect()
    }
}

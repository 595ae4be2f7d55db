//! The decisions of a listener call, for whoever asks for them.

use std::sync::atomic::{AtomicBool, Ordering};

use idem_core::Decision;
use idem_core::engine::{Unfit, verdict};
use parking_lot::Mutex;
use tokio::sync::Notify;

/// The first decision of each message of a call.
pub(crate) struct Decisions {
    of: Mutex<Vec<Noted>>,
    changed: Notify,
    is_over: AtomicBool,
}

#[derive(Clone)]
enum Noted {
    Nothing,
    /// The message is held, because too many of its handler's messages cannot be handled.
    Held(Unfit),
    /// The message keeps the order of one that is held.
    BehindHeld,
    Decided(Decision),
}

impl Decisions {
    /// For a call with so many messages.
    pub(super) fn of(messages: usize) -> Self {
        Self {
            of: Mutex::new(vec![Noted::Nothing; messages]),
            changed: Notify::new(),
            is_over: AtomicBool::new(false),
        }
    }

    pub(super) fn decided(&self, place: usize, decision: &Decision) {
        let noted = &mut self.of.lock()[place];
        if !matches!(noted, Noted::Decided(_)) {
            *noted = Noted::Decided(decision.clone());
        }
        self.changed.notify_one();
    }

    /// A message is held, and those behind it wait with it.
    pub(super) fn held(&self, place: usize, what: Unfit, behind: impl Iterator<Item = usize>) {
        let mut noted = self.of.lock();
        let mut note = |place: usize, as_what| match &mut noted[place] {
            Noted::Decided(_) => {}
            noted => *noted = as_what,
        };
        note(place, Noted::Held(what));
        behind.for_each(|place| note(place, Noted::BehindHeld));
        drop(noted);
        self.changed.notify_one();
    }

    /// The call is over.
    pub(super) fn end(&self) {
        self.is_over.store(true, Ordering::Release);
        self.changed.notify_one();
    }

    /// Waits until each message is decided or held, or the call is over. Whether some are held.
    pub(super) async fn settled(&self) -> bool {
        loop {
            {
                let noted = self.of.lock();
                let is_open = noted.iter().any(|noted| matches!(noted, Noted::Nothing));
                if !is_open || self.is_over.load(Ordering::Acquire) {
                    return noted.iter().any(|noted| matches!(noted, Noted::Held(_)));
                }
            }
            self.changed.notified().await;
        }
    }

    /// The decisions. A message that was neither decided nor held keeps the order of one that is to be tried again.
    pub(super) fn get(&self) -> Vec<Decision> {
        let noted = self.of.lock();
        let decision = |noted: &Noted| match noted {
            Noted::Decided(decision) => decision.clone(),
            Noted::Held(what) => verdict::held(*what),
            Noted::BehindHeld | Noted::Nothing => verdict::waits(),
        };
        noted.iter().map(decision).collect()
    }
}

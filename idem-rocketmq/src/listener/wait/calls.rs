//! The listener calls of a consumer that are under way.

use parking_lot::{Condvar, Mutex};

use super::seats::CallSeats;
use super::thread::AsideThread;

/// The listener calls under way.
#[derive(Default)]
pub(in crate::listener) struct ListenerCalls {
    pub(in crate::listener) state: Mutex<CallsState>,
    pub(in crate::listener) changed: Condvar,
    /// For those that stay on their threads until others are over.
    pub(super) seats: Condvar,
}

#[derive(Default)]
pub(in crate::listener) struct CallsState {
    /// Calls that work on messages; one that has left its messages to the broker is not among them.
    pub(in crate::listener) seats: CallSeats,
    /// Where calls go on that have given their threads back.
    pub(super) aside_thread: Option<AsideThread>,
    /// How many calls have ended.
    pub(super) ended: u64,
    pub(super) threads: ThreadStage,
    pub(in crate::listener) is_closed: bool,
    /// Calls wait before they begin.
    pub(in crate::listener) is_paused: bool,
}

/// Whether the client has been given more threads.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum ThreadStage {
    /// No: the call that takes the last of the few has a task look.
    #[default]
    Few,
    /// A task looks whether they are needed.
    Looking,
    /// All of them.
    Many,
}

impl ListenerCalls {
    /// A call is over.
    pub(super) fn over(&self, wakes: bool) {
        self.changed.notify_all();
        if wakes {
            self.seats.notify_all();
        }
    }
}

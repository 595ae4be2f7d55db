//! When a call gives up its thread, so that a slow handler starves no other.
//!
//! A call holds a thread until all of its messages are settled. Where a slow handler's messages trickle in, they
//! come to hold nearly all threads, and another handler's messages get none. Then calls that wait for the slow one
//! send their messages back. A crowd alone is no reason: after an outage of the store all threads may be taken too,
//! by messages whose turn comes within moments.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::Bridge;
use super::dispatch::Handler;
use super::threads::THREADS;

/// How many may be under way before calls that wait for slow handlers give up their threads.
pub(crate) const CROWD: usize = THREADS as usize / 10 * 9;

/// The time between two looks at the handlers' pace.
const LOOK: Duration = Duration::from_secs(1);

/// A line that takes longer than this many looks is worth a way back to the broker: about what a deferred message
/// stays away.
const LONG_LINE: u64 = 10;

/// For how long a call begins runs on its own thread. A handler that keeps a thread for longer blocks; less may be a
/// thread that had to wait for its turn on a busy machine.
pub(super) const BLOCKING: Duration = Duration::from_millis(10);

/// How one handler gets on.
#[derive(Default)]
pub(crate) struct Pace {
    /// Messages that wait for a run to end, so that theirs can start.
    waiting: AtomicUsize,
    /// Runs that have ended.
    ended: AtomicU64,
    /// What the last look saw.
    last: Mutex<Look>,
    is_slow: AtomicBool,
    /// Tells one call that waits for this handler to give up its thread.
    relief: Notify,
    /// Whether a run has kept its thread for long since the last look.
    blocks: AtomicBool,
}

#[derive(Clone, Copy, Default)]
struct Look {
    is_busy: bool,
    ended: u64,
}

impl Pace {
    /// Counts messages that wait, until the value is dropped.
    pub(super) fn wait(&self, messages: usize) -> impl Drop + '_ {
        self.waiting.fetch_add(messages, Ordering::Relaxed);
        Waits { pace: self, messages }
    }

    pub(super) fn run_ended(&self) {
        self.ended.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes how long a run kept its thread until its first `.await` that waits.
    pub(super) fn polled(&self, took: Duration) {
        if took > BLOCKING {
            self.blocks.store(true, Ordering::Relaxed);
        }
    }

    pub(super) fn blocks(&self) -> bool {
        self.blocks.load(Ordering::Relaxed)
    }

    fn is_slow(&self) -> bool {
        self.is_slow.load(Ordering::Relaxed)
    }

    /// The handler is slow when it was busy at both ends of a look and its line is long for what it did meanwhile.
    /// While the store does not answer, no run is under way, and no handler is busy.
    fn look(&self, is_busy: bool) {
        let now = Look { is_busy, ended: self.ended.load(Ordering::Relaxed) };
        let last = std::mem::replace(&mut *self.last.lock(), now);
        let waiting = self.waiting.load(Ordering::Relaxed) as u64;
        let is_slow = last.is_busy && now.is_busy && waiting > LONG_LINE * (now.ended - last.ended);
        self.is_slow.store(is_slow, Ordering::Relaxed);
        self.blocks.store(false, Ordering::Relaxed);
    }
}

struct Waits<'a> {
    pace: &'a Pace,
    messages: usize,
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.pace.waiting.fetch_sub(self.messages, Ordering::Relaxed);
    }
}

/// Looks at the handlers of a bridge for as long as there is one.
pub(super) fn watch(bridge: &Arc<Bridge>) {
    let weak = Arc::downgrade(bridge);
    bridge.spawn("crowd", async move {
        let upgrade = || Weak::upgrade(&weak);
        let mut next = tokio::time::interval(LOOK);
        loop {
            next.tick().await;
            let Some(bridge) = upgrade() else { return };
            bridge.dispatch.handlers().iter().for_each(|handler| handler.pace.look(handler.gate.is_busy()));
            let excess = bridge.working().saturating_sub(CROWD);
            (0..excess).for_each(|_| bridge.relieve());
        }
    });
}

impl Bridge {
    /// Has one call give up its thread for each slow handler; the newest gives up first. Where all handlers are
    /// slow, nobody would gain.
    pub(super) fn relieve(&self) {
        let handlers = self.dispatch.handlers();
        if handlers.iter().all(|handler| handler.pace.is_slow()) {
            return;
        }
        let slow = handlers.iter().filter(|handler| handler.pace.is_slow());
        slow.for_each(|handler| handler.pace.relief.notify_last());
    }

    /// Waits until this call is to give up its thread because of `handler`, for which it waits.
    pub(super) async fn crowded(&self, handler: &Handler) {
        loop {
            handler.pace.relief.notified().await;
            if handler.pace.is_slow() && self.working() > CROWD {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks twice, with so many runs ended between.
    fn looked_at(pace: &Pace, busy: [bool; 2], ended: usize) -> bool {
        pace.look(busy[0]);
        (0..ended).for_each(|_| pace.run_ended());
        pace.look(busy[1]);
        pace.is_slow()
    }

    #[test]
    fn a_handler_is_slow_while_it_is_busy_and_its_line_takes_long() {
        let pace = Pace::default();
        let line = pace.wait(101);
        assert!(looked_at(&pace, [true, true], 0), "a line, and nothing ends");
        assert!(looked_at(&pace, [true, true], 10), "more than ten looks long");
        assert!(!looked_at(&pace, [true, true], 11), "shorter");
        assert!(!looked_at(&pace, [false, true], 0), "the store has just come back");
        assert!(!looked_at(&pace, [true, false], 0), "the store has just gone away");
        drop(line);
        assert!(!looked_at(&pace, [true, true], 0), "nobody waits");
    }
}

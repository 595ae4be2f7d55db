//! How a handler gets on with its messages.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

/// A line that takes longer than this many looks is worth a way back to the broker: about what a deferred message
/// stays away.
const LONG_LINE: u64 = 10;

/// For how long a call begins runs on its own thread. A handler that keeps a thread for longer blocks; less may be a
/// thread that had to wait for its turn on a busy machine.
pub(in crate::listener) const BLOCKING: Duration = Duration::from_millis(10);

/// How one handler gets on.
#[derive(Default)]
pub(crate) struct Pace {
    /// Messages that wait for a run to end, so that theirs can start.
    waiting: AtomicUsize,
    /// Runs that have ended.
    ended: AtomicU64,
    /// The sample of the last look.
    last: Mutex<PaceSample>,
    is_slow: AtomicBool,
    /// Tells one call that waits for this handler to give up its thread.
    pub(in crate::listener) relief: Notify,
    /// Whether a run has kept its thread for long since the last look.
    blocks: AtomicBool,
}

#[derive(Clone, Copy, Default)]
struct PaceSample {
    is_busy: bool,
    ended: u64,
}

impl Pace {
    /// Counts messages that wait, until the value is dropped.
    pub(in crate::listener) fn wait(&self, messages: usize) -> impl Drop + '_ {
        self.waiting.fetch_add(messages, Ordering::Relaxed);
        WaitingCount { pace: self, messages }
    }

    pub(in crate::listener) fn run_ended(&self) {
        self.ended.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes how long a run kept its thread until its first `.await` that waits.
    pub(in crate::listener) fn polled(&self, took: Duration) {
        if took > BLOCKING {
            self.blocks.store(true, Ordering::Relaxed);
        }
    }

    pub(in crate::listener) fn blocks(&self) -> bool {
        self.blocks.load(Ordering::Relaxed)
    }

    pub(in crate::listener) fn is_slow(&self) -> bool {
        self.is_slow.load(Ordering::Relaxed)
    }

    /// The handler is slow when it was busy at both ends of a look and its line is long for what it did meanwhile.
    /// While the store does not answer, no run is under way, and no handler is busy.
    pub(in crate::listener) fn look(&self, is_busy: bool) {
        let now = PaceSample { is_busy, ended: self.ended.load(Ordering::Relaxed) };
        let last = std::mem::replace(&mut *self.last.lock(), now);
        let waiting = self.waiting.load(Ordering::Relaxed) as u64;
        let is_slow = last.is_busy && now.is_busy && waiting > LONG_LINE * (now.ended - last.ended);
        self.is_slow.store(is_slow, Ordering::Relaxed);
        self.blocks.store(false, Ordering::Relaxed);
    }
}

struct WaitingCount<'a> {
    pace: &'a Pace,
    messages: usize,
}

impl Drop for WaitingCount<'_> {
    fn drop(&mut self) {
        self.pace.waiting.fetch_sub(self.messages, Ordering::Relaxed);
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

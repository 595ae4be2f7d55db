//! A store without room, which is said once and not of each message that waits for it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::store::StoreError;

/// Waiting messages ask again every second: after so long without a refusal, there is room.
const CALM: Duration = Duration::from_secs(5);

/// Since when a store has had no room.
#[derive(Default)]
pub(crate) struct Fullness {
    is_full: AtomicBool,
    times: Mutex<Option<RefusalTimes>>,
}

#[derive(Clone, Copy)]
struct RefusalTimes {
    first: Duration,
    last: Duration,
    refusals: u64,
}

impl Fullness {
    /// The store has refused a record at this moment. Said at the first time.
    pub(crate) fn refused(&self, store: &str, error: &StoreError, now: Duration) {
        let mut times = self.times.lock();
        if let Some(times) = &mut *times {
            times.last = now;
            times.refusals = times.refusals.saturating_add(1);
            return;
        }
        *times = Some(RefusalTimes { first: now, last: now, refusals: 1 });
        self.is_full.store(true, Ordering::Relaxed);
        tracing::error!(
            store,
            %error,
            "the store is full since now: no new key is handled until there is room, and its messages wait; this is said once"
        );
    }

    /// The store has taken a record at this moment. Said when it has refused none for a while.
    pub(crate) fn took(&self, store: &str, now: Duration) {
        if !self.is_full.load(Ordering::Relaxed) {
            return;
        }
        let mut times = self.times.lock();
        let is_over = |times: &RefusalTimes| now.saturating_sub(times.last) >= CALM;
        let Some(RefusalTimes { first, last, refusals }) = times.take_if(|times| is_over(times)) else {
            return;
        };
        self.is_full.store(false, Ordering::Relaxed);
        let full_for = last.saturating_sub(first);
        tracing::warn!(store, ?full_for, refusals, "the store has room again");
    }
}

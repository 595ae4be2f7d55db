//! One run's hold on a key, as the engine keeps it and as the handler sees it.

use std::fmt;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

use crate::doubt::{Doubt, DoubtCause, MemberId, MessageId};
use crate::engine::verdict::Completion;
use crate::key::{Fingerprint, RecordKey};
use crate::outcome::Decision;
use crate::record::{Fence, Token};

/// The lease under which a handler runs, as the handler sees it.
///
/// Pass the [token](Lease::token) and the [fence](Lease::fence) on to a resource that can refuse a writer that
/// was overtaken. Cloning is cheap.
#[derive(Clone)]
pub struct Lease(pub(crate) Arc<Flight>);

impl Lease {
    /// A lease that nobody holds: of a run without dedup, and for unit tests of a handler.
    pub fn detached() -> Self {
        Self(Arc::new(Flight::new(None, None, None)))
    }

    /// The token of this claim.
    pub fn token(&self) -> Token {
        self.0.token
    }

    /// The number of this claim, greater than that of every earlier claim of the key. `None` in a run without
    /// dedup.
    pub fn fence(&self) -> Option<Fence> {
        match self.0.fence.load(Ordering::Acquire) {
            0 => None,
            fence => Some(Fence(fence)),
        }
    }

    /// Whether the lease could not be kept, so that another process may run this key now.
    ///
    /// A handler whose lease is lost is cancelled at its next `.await`; a long stretch of computation should ask.
    pub fn is_lost(&self) -> bool {
        self.0.stop() == Some(Stop::Lost)
    }

    /// An earlier run of the key that ended without an answer: what it was to do may be done.
    pub fn doubt(&self) -> Option<Doubt> {
        self.0.doubt()
    }

    /// Waits until the lease is lost. Never ends in a run without dedup.
    ///
    /// # Cancel safety
    /// Can be dropped and called again.
    pub async fn lost(&self) {
        while self.0.stopped().await != Stop::Lost {
            std::future::pending::<()>().await;
        }
    }
}

impl Lease {
    /// Notes that the handler has returned `Ok`, where a run hears of it only later: one call for the messages of a batch.
    /// From here on the key is completed, also where the run is dropped before it hears.
    ///
    /// For a run outside of a transaction, whose effect is there whatever becomes of the run.
    #[doc(hidden)]
    pub fn note_ok(&self) {
        self.0.has_returned.store(true, Ordering::Release);
    }
}

impl fmt::Debug for Flight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flight").field("stop", &self.stop()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("fence", &self.fence()).field("is_lost", &self.is_lost()).finish()
    }
}

/// Why a run must end before its handler does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    Lost = 1,
    TimedOut = 2,
}

/// The stage of a run, by which its end says something about its effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Nothing is done: the handler has not begun, a check is asked, or its work is undone with its transaction.
    Harmless = 0,
    /// The handler is at work.
    Running = 1,
    /// A check has said that the earlier run did the work.
    FoundDone = 2,
}

/// A key in flight in this process: from the first message that asks for it to that message's decision.
///
/// One allocation serves the coalescing of equal keys, the renewal, and the handler's [`Lease`].
pub(crate) struct Flight {
    pub(crate) key: Option<RecordKey>,
    pub(crate) fingerprint: Option<Fingerprint>,
    pub(crate) message: Option<MessageId>,
    pub(crate) token: Token,
    /// The doubt that the claim has found.
    doubt: OnceLock<Doubt>,
    phase: AtomicU8,
    /// Which attempt its run is.
    attempt: AtomicU32,
    fence: AtomicU64,
    stop: AtomicU8,
    /// Whether its handler has begun, and what it did was not undone alone.
    has_run: AtomicBool,
    /// When the handler was polled first, in µs of the engine's clock; 0 before that, and when it is over.
    started: AtomicU64,
    /// The local deadline of the lease, in µs of the engine's clock.
    deadline: AtomicU64,
    /// Where the watch keeps it; `usize::MAX` where it does not.
    pub(crate) slot: AtomicUsize,
    /// Whether an operation of the token is under way at the store.
    is_operating: AtomicBool,
    /// Whether the handler has returned `Ok`, before its run has heard of it.
    has_returned: AtomicBool,
    end: OnceLock<FlightEnd>,
    changed: Notify,
}

/// How a flight ended, for the messages that wait for it.
#[derive(Debug, Clone)]
pub(crate) enum FlightEnd {
    Decided(Decision),
    /// Cancelled, or its lease was lost: nobody knows whether the work was done.
    Abandoned,
}

impl Flight {
    pub(crate) fn new(
        key: Option<RecordKey>,
        fingerprint: Option<Fingerprint>,
        message: Option<MessageId>,
    ) -> Self {
        Self {
            key,
            fingerprint,
            message,
            token: Token::random(),
            doubt: OnceLock::new(),
            phase: AtomicU8::new(Phase::Harmless as u8),
            attempt: AtomicU32::new(0),
            fence: AtomicU64::new(0),
            stop: AtomicU8::new(0),
            has_run: AtomicBool::new(false),
            started: AtomicU64::new(0),
            deadline: AtomicU64::new(u64::MAX),
            slot: AtomicUsize::new(usize::MAX),
            is_operating: AtomicBool::new(false),
            has_returned: AtomicBool::new(false),
            end: OnceLock::new(),
            changed: Notify::new(),
        }
    }

    pub(crate) fn claimed(&self, fence: Fence, deadline: Duration) {
        self.fence.store(fence.0, Ordering::Release);
        self.set_deadline(deadline);
    }

    pub(crate) fn fence(&self) -> Fence {
        Fence(self.fence.load(Ordering::Acquire))
    }

    pub(crate) fn set_deadline(&self, deadline: Duration) {
        self.deadline.store(micros(deadline), Ordering::Release);
    }

    pub(crate) fn deadline(&self) -> Duration {
        Duration::from_micros(self.deadline.load(Ordering::Acquire))
    }

    /// Whether no lease runs.
    pub(crate) fn is_unbounded(&self) -> bool {
        self.deadline.load(Ordering::Acquire) == u64::MAX
    }

    pub(crate) fn doubt(&self) -> Option<Doubt> {
        self.doubt.get().copied()
    }

    /// Notes a doubt that the claim has found.
    pub(crate) fn note_doubt(&self, doubt: Doubt) {
        let _ = self.doubt.set(doubt);
    }

    pub(crate) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Harmless,
            1 => Phase::Running,
            _ => Phase::FoundDone,
        }
    }

    /// The completion of its key, when the store has recorded it.
    pub(crate) fn recorded(&self) -> Completion {
        if self.phase() == Phase::FoundDone { Completion::FoundDone } else { Completion::Recorded }
    }

    /// The doubt that its run leaves when it ends so.
    pub(crate) fn doubt_left(&self, cause: DoubtCause, member: MemberId) -> Doubt {
        Doubt { cause, fence: self.fence(), attempt: self.attempt.load(Ordering::Acquire), member }
    }

    pub(crate) fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Release);
    }

    pub(crate) fn start(&self, now: Duration, attempt: u32) {
        self.attempt.store(attempt, Ordering::Release);
        self.has_run.store(true, Ordering::Release);
        self.started.store(micros(now).max(1), Ordering::Release);
        self.changed.notify_waiters();
    }

    /// The handler is over; what follows is bounded by nothing but the store. How long it ran; `None` where it was never
    /// polled.
    pub(crate) fn rest(&self, now: Duration) -> Option<Duration> {
        match self.started.swap(0, Ordering::AcqRel) {
            0 => None,
            started => Some(now.saturating_sub(Duration::from_micros(started))),
        }
    }

    /// Whether its handler has begun, and what it did may be there.
    pub(crate) fn has_run(&self) -> bool {
        self.has_run.load(Ordering::Acquire)
    }

    /// Notes that its handler's work was rolled back, and that its record alone is kept.
    pub(crate) fn was_undone(&self) {
        self.has_run.store(false, Ordering::Release);
    }

    pub(crate) fn started(&self) -> Option<Duration> {
        match self.started.load(Ordering::Acquire) {
            0 => None,
            started => Some(Duration::from_micros(started)),
        }
    }

    /// Tells the run to end. The first reason counts.
    pub(crate) fn halt(&self, why: Stop) {
        if self.stop.compare_exchange(0, why as u8, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            self.changed.notify_waiters();
        }
    }

    /// Another run of the same key is to begin, or the key is held for its dead letter.
    pub(crate) fn forget_stop(&self) {
        self.stop.store(0, Ordering::Release);
    }

    pub(crate) fn stop(&self) -> Option<Stop> {
        match self.stop.load(Ordering::Acquire) {
            0 => None,
            1 => Some(Stop::Lost),
            _ => Some(Stop::TimedOut),
        }
    }

    pub(crate) async fn stopped(&self) -> Stop {
        self.until(|| self.stop()).await
    }

    pub(crate) fn finish(&self, end: FlightEnd) {
        if self.end.set(end).is_ok() {
            self.changed.notify_waiters();
        }
    }

    pub(crate) async fn ended(&self) -> FlightEnd {
        self.until(|| self.end.get().cloned()).await
    }

    /// Waits until the handler was started, and says when.
    pub(crate) async fn has_started(&self) -> Duration {
        self.until(|| self.started()).await
    }

    /// Takes the turn of the token's operations. Whether it was free.
    pub(crate) fn begin_operation(&self) -> bool {
        self.is_operating.compare_exchange(false, true, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    pub(crate) fn end_operation(&self) {
        self.is_operating.store(false, Ordering::Release);
        self.changed.notify_waiters();
    }

    pub(crate) fn has_returned(&self) -> bool {
        self.has_returned.load(Ordering::Acquire)
    }

    pub(crate) fn forget_return(&self) {
        self.has_returned.store(false, Ordering::Release);
    }

    pub(crate) async fn until<T>(&self, seen: impl Fn() -> Option<T>) -> T {
        loop {
            // Made before the look, so that a change between the look and the wait is not missed.
            let changed = self.changed.notified();
            if let Some(value) = seen() {
                return value;
            }
            changed.await;
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_halt_before_and_during_the_wait_is_seen() {
        let lease = Lease::detached();
        assert!(!lease.is_lost());
        let waiting = tokio::spawn({
            let lease = lease.clone();
            async move { lease.lost().await }
        });
        tokio::task::yield_now().await;
        lease.0.halt(Stop::Lost);
        lease.0.halt(Stop::TimedOut);
        waiting.await.unwrap();
        lease.lost().await;
        assert!(lease.is_lost());
    }
}

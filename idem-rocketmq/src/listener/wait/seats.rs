//! Which listener calls are on the client's threads, and which have given theirs back while their messages wait.
//!
//! The client moves a queue's offset up to the first message whose call has not returned. So all calls of a queue but the first
//! one may return before their messages are settled: the first one stays on its thread until all of them are.
//!
//! The last one stays too and so bounds what a process takes in: the client pulls no more of a queue while [`SPAN`] offsets
//! lie between the first and the last message of the calls that have not returned.
//!
//! All of this holds for one time that the client has the queue. When it loses the queue and gets it back, the messages come anew,
//! and a call from before stands for nothing.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use cheetah_string::CheetahString;
use tokio::sync::Notify;

use crate::client::{Queue, Queues, SPAN};

/// While so many calls are on threads, none gives its thread back.
pub(in crate::listener) const ENOUGH: usize = 64;

/// A call that takes longer waits for something.
const LONG: Duration = Duration::from_millis(500);

/// The most bytes that the bodies of a queue's calls may have together that were set aside. The client bounds those on threads.
const HEAVY: usize = 80 << 20;

/// The client pulls half a second after it has taken a queue up. A call that began earlier is from before.
const FIRST_CALL_MILLIS: u64 = 250;

/// A listener call.
pub(in crate::listener) struct CallSeat {
    queue: Queue,
    /// The offsets of its first and last message.
    first: i64,
    last: i64,
    messages: usize,
    bytes: usize,
    begun: Instant,
    tenure: QueueTenure,
    signals: Arc<CallSignals>,
}

/// The time that the client has a call's queue without a break. It is known by when it began, in milliseconds.
#[derive(Clone, Copy)]
enum QueueTenure {
    /// The call came past its queue.
    None,
    /// Not known yet; the client began the call at this time.
    Unknown { stamp: u64 },
    /// It began at this time, and goes on.
    Held(u64),
    /// It is over. When it began, if that was known.
    Lost(Option<u64>),
}

/// Requests to a call while it works.
#[derive(Default)]
pub(in crate::listener) struct CallSignals {
    /// To give its thread back; or, where order is kept, to suspend its queue.
    pub(in crate::listener) aside: Notify,
    /// To give up what waits, because the client has lost the queue.
    pub(in crate::listener) lost: Notify,
    is_aside: AtomicBool,
}

impl CallSignals {
    /// Whether the call has given its thread back.
    pub(in crate::listener) fn is_aside(&self) -> bool {
        self.is_aside.load(Ordering::Relaxed)
    }
}

/// When a call on a thread that is done may return.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::listener) enum CallReturn {
    Now,
    /// When others of its queue are done.
    Later,
    /// Now, but one of the others was left to the broker, so that it may not say that all is done.
    WithoutAck,
}

/// The calls under way.
#[derive(Default)]
pub(in crate::listener) struct CallSeats {
    threads: HashMap<u64, CallSeat>,
    aside: HashMap<Queue, AsideCalls>,
    /// How many of those that were set aside still work.
    working_aside: usize,
    next: u64,
}

/// The calls of a queue that were set aside, by their first offset.
#[derive(Default)]
struct AsideCalls {
    calls: BTreeMap<(i64, u64), CallSeat>,
    bytes: usize,
    /// One of them was left to the broker.
    is_left: bool,
}

impl CallSeat {
    pub(in crate::listener) fn new(
        queue: Queue,
        (first, last): (i64, i64),
        (messages, bytes): (usize, usize),
        stamp: Option<u64>,
    ) -> Self {
        let signals = Arc::default();
        Self {
            queue,
            first,
            last,
            messages,
            bytes,
            begun: Instant::now(),
            tenure: stamp.map_or(QueueTenure::None, |stamp| QueueTenure::Unknown { stamp }),
            signals,
        }
    }

    pub(in crate::listener) fn signals(&self) -> Arc<CallSignals> {
        self.signals.clone()
    }

    fn is_lost(&self) -> bool {
        matches!(self.tenure, QueueTenure::Lost(_))
    }

    /// When the client took up its queue, if that is known.
    fn taken_up(&self) -> Option<u64> {
        match self.tenure {
            QueueTenure::Held(taken_up) => Some(taken_up),
            QueueTenure::Lost(taken_up) => taken_up,
            QueueTenure::None | QueueTenure::Unknown { .. } => None,
        }
    }

    /// Of the same queue, while the client had it without a break.
    fn is_beside(&self, other: &Self) -> bool {
        let QueueTenure::Held(taken_up) = self.tenure else { return false };
        other.taken_up() == Some(taken_up) && self.queue == other.queue
    }

    /// Looks whether the client still has its queue.
    fn look(&mut self, queues: &Queues) {
        let now = queues.get(&self.queue).copied();
        let tenure = match (self.tenure, now) {
            (QueueTenure::Unknown { stamp }, Some(taken_up)) => {
                let is_since = stamp >= taken_up.saturating_add(FIRST_CALL_MILLIS);
                if is_since { QueueTenure::Held(taken_up) } else { self.tenure }
            }
            (QueueTenure::Unknown { .. }, None) => QueueTenure::Lost(None),
            (QueueTenure::Held(taken_up), now) if now != Some(taken_up) => QueueTenure::Lost(Some(taken_up)),
            (tenure, _) => tenure,
        };
        let was_lost = self.is_lost();
        self.tenure = tenure;
        if self.is_lost() && !was_lost {
            self.signals.lost.notify_one();
            self.signals.aside.notify_one();
        }
    }
}

impl CallSeats {
    pub(in crate::listener) fn on_threads(&self) -> usize {
        self.threads.len()
    }

    /// How many work on messages.
    pub(in crate::listener) fn working(&self) -> usize {
        self.threads.len() + self.working_aside
    }

    pub(in crate::listener) fn is_empty(&self) -> bool {
        self.threads.is_empty() && self.aside.is_empty()
    }

    /// The number that the next call gets.
    pub(in crate::listener) fn next(&self) -> u64 {
        self.next
    }

    pub(in crate::listener) fn take(&mut self, seat: CallSeat) -> u64 {
        let id = self.next;
        self.next += 1;
        self.threads.insert(id, seat);
        id
    }

    /// Takes in which queues the client had when the calls before `next` were under way.
    pub(in crate::listener) fn look(&mut self, queues: &Queues, next: u64) {
        let aside = self.aside.values_mut().flat_map(|aside| &mut aside.calls);
        let aside = aside.map(|((_, id), seat)| (*id, seat));
        let threads = self.threads.iter_mut().map(|(id, seat)| (*id, seat));
        threads.chain(aside).filter(|(id, _)| *id < next).for_each(|(_, seat)| seat.look(queues));
    }

    /// Asks calls that take long to give their threads back.
    pub(in crate::listener) fn ask(&self) {
        if self.threads.len() <= ENOUGH {
            return;
        }
        let mut first: HashMap<(&Queue, u64), i64> = HashMap::new();
        for seat in self.threads.values() {
            if let Some(taken_up) = seat.taken_up() {
                let first = first.entry((&seat.queue, taken_up)).or_insert(seat.first);
                *first = seat.first.min(*first);
            }
        }
        let is_behind = |seat: &CallSeat| {
            let first = seat.taken_up().and_then(|taken_up| first.get(&(&seat.queue, taken_up)));
            first.is_some_and(|first| seat.first > *first)
        };
        let asked = self.threads.values().filter(|seat| seat.begun.elapsed() > LONG && is_behind(seat));
        asked.for_each(|seat| seat.signals.aside.notify_one());
    }

    /// Asks all calls that take long, where none can be set aside.
    pub(in crate::listener) fn ask_all(&self) {
        if self.threads.len() > ENOUGH {
            let asked = self.threads.values().filter(|seat| seat.begun.elapsed() > LONG);
            asked.for_each(|seat| seat.signals.aside.notify_one());
        }
    }

    /// Sets a call aside, if it may return now. Whether its queue is lost.
    pub(in crate::listener) fn set_aside(&mut self, id: u64) -> Option<bool> {
        let seat = self.threads.get(&id)?;
        let is_covered = || {
            let first = self.threads.values().filter(|other| other.is_beside(seat)).map(|other| other.first);
            first.min().is_some_and(|first| first < seat.first && seat.last - first <= i64::from(SPAN))
        };
        let weight = self.aside.get(&seat.queue).map_or(0, |aside| aside.bytes);
        let is_light = weight.saturating_add(seat.bytes) <= HEAVY;
        if !(seat.is_lost() || is_light && is_covered()) {
            return None;
        }
        let seat = self.threads.remove(&id)?;
        let is_lost = seat.is_lost();
        seat.signals.is_aside.store(true, Ordering::Relaxed);
        let aside = self.aside.entry(seat.queue.clone()).or_default();
        aside.bytes += seat.bytes;
        aside.calls.insert((seat.first, id), seat);
        self.working_aside += 1;
        Some(is_lost)
    }

    /// When a call on a thread that is done may return: it stays there for those that were set aside.
    pub(in crate::listener) fn call_return(&self, id: u64) -> CallReturn {
        let Some(seat) = self.threads.get(&id) else { return CallReturn::Now };
        let Some(aside) = self.aside.get(&seat.queue) else { return CallReturn::Now };
        let mut behind = aside.calls.range((seat.first, u64::MAX)..).map(|(_, seat)| seat);
        let Some(next) = behind.find(|other| other.is_beside(seat)) else { return CallReturn::Now };
        let mut others = self.threads.iter().filter(|(other, _)| **other != id).map(|(_, other)| other);
        let is_covered = others.any(|other| other.is_beside(seat) && other.first < next.first);
        if is_covered {
            CallReturn::Now
        } else if aside.is_left {
            CallReturn::WithoutAck
        } else {
            CallReturn::Later
        }
    }

    /// A call on a thread is over. Whether its queue was lost.
    pub(in crate::listener) fn over(&mut self, id: u64) -> bool {
        self.threads.remove(&id).is_some_and(|seat| seat.is_lost())
    }

    /// A call that was set aside is over. Whether one on a thread may have waited for it.
    pub(in crate::listener) fn over_aside(
        &mut self,
        (queue, first, id): (&Queue, i64, u64),
        is_left: bool,
    ) -> bool {
        let Some(aside) = self.aside.get_mut(queue) else { return false };
        let Some(seat) = aside.calls.get(&(first, id)) else { return false };
        self.working_aside -= 1;
        if is_left && !seat.is_lost() {
            aside.is_left = true;
            return true;
        }
        aside.bytes -= seat.bytes;
        aside.calls.remove(&(first, id));
        let is_last = aside.calls.range((first, id)..).next().is_none();
        if aside.calls.is_empty() {
            self.aside.remove(queue);
        }
        is_last
    }

    /// How many messages of each topic were set aside.
    pub(in crate::listener) fn aside(&self) -> HashMap<CheetahString, usize> {
        let mut topics = HashMap::new();
        for (queue, aside) in &self.aside {
            let messages: usize = aside.calls.values().map(|seat| seat.messages).sum();
            *topics.entry(queue.topic().clone()).or_default() += messages;
        }
        topics
    }
}

#[cfg(test)]
mod tests;

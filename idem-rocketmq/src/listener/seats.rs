//! Which listener calls are on the client's threads, and which have given theirs back while their messages wait.
//!
//! The client moves a queue's offset up to the first message whose call has not returned. So all calls of a queue but the first
//! one may return before their messages are settled: the first one stays on its thread until all of them are.
//!
//! What a process takes in is bounded by the last one, which stays too: the client pulls no more of a queue while [`SPAN`] offsets
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
pub(super) const ENOUGH: usize = 64;

/// A call that takes longer waits for something.
const LONG: Duration = Duration::from_millis(500);

/// What the bodies of a queue that were set aside may weigh together. Those of calls on threads the client bounds.
const HEAVY: usize = 80 << 20;

/// The client pulls half a second after it has taken a queue up. A call that began earlier is from before.
const FIRST_CALL_MILLIS: u64 = 250;

/// A listener call.
pub(super) struct Seat {
    queue: Queue,
    /// The offsets of its first and last message.
    first: i64,
    last: i64,
    messages: usize,
    bytes: usize,
    /// When the client began it, in milliseconds; none where it is of no queue.
    stamp: Option<u64>,
    begun: Instant,
    /// When the client took up the queue that it is of, as soon as that is known.
    of: Option<u64>,
    /// The client has lost the queue since.
    is_lost: bool,
    asks: Arc<Asks>,
}

/// What a call is asked while it works.
#[derive(Default)]
pub(super) struct Asks {
    /// To give its thread back; or, where order is kept, to suspend its queue.
    pub(super) aside: Notify,
    /// To give up what waits, because the client has lost the queue.
    pub(super) lost: Notify,
    is_aside: AtomicBool,
}

impl Asks {
    /// Whether the call has given its thread back.
    pub(super) fn is_aside(&self) -> bool {
        self.is_aside.load(Ordering::Relaxed)
    }
}

/// What a call on a thread that is done has to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stay {
    /// It may return.
    No,
    /// It returns when others of its queue are done.
    Yes,
    /// One of them was left to the broker, so it may not say that all is done.
    ForGood,
}

/// The calls under way.
#[derive(Default)]
pub(super) struct Seats {
    threads: HashMap<u64, Seat>,
    aside: HashMap<Queue, Aside>,
    /// How many of those that were set aside still work.
    working_aside: usize,
    next: u64,
}

/// The calls of a queue that were set aside, by their first offset.
#[derive(Default)]
struct Aside {
    calls: BTreeMap<(i64, u64), Seat>,
    bytes: usize,
    /// One of them was left to the broker.
    is_left: bool,
}

impl Seat {
    pub(super) fn new(
        queue: Queue,
        (first, last): (i64, i64),
        (messages, bytes): (usize, usize),
        stamp: Option<u64>,
    ) -> Self {
        let asks = Arc::default();
        Self {
            queue,
            first,
            last,
            messages,
            bytes,
            stamp,
            begun: Instant::now(),
            of: None,
            is_lost: false,
            asks,
        }
    }

    pub(super) fn asks(&self) -> Arc<Asks> {
        self.asks.clone()
    }

    /// Of the same queue, while the client had it without a break.
    fn is_beside(&self, other: &Self) -> bool {
        self.of.is_some() && self.of == other.of && !self.is_lost && self.queue == other.queue
    }

    /// Looks whether the client still has its queue.
    fn look(&mut self, queues: &Queues) {
        let (Some(stamp), false) = (self.stamp, self.is_lost) else { return };
        let now = queues.get(&self.queue).copied();
        match (self.of, now) {
            (None, Some(taken_up)) => {
                let is_since = stamp >= taken_up.saturating_add(FIRST_CALL_MILLIS);
                self.of = is_since.then_some(taken_up);
            }
            (of, now) if of != now || now.is_none() => {
                self.is_lost = true;
                self.asks.lost.notify_one();
                self.asks.aside.notify_one();
            }
            _ => {}
        }
    }
}

impl Seats {
    pub(super) fn on_threads(&self) -> usize {
        self.threads.len()
    }

    /// How many work on messages.
    pub(super) fn working(&self) -> usize {
        self.threads.len() + self.working_aside
    }

    pub(super) fn is_empty(&self) -> bool {
        self.threads.is_empty() && self.aside.is_empty()
    }

    /// The number that the next call gets.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    pub(super) fn take(&mut self, seat: Seat) -> u64 {
        let id = self.next;
        self.next += 1;
        self.threads.insert(id, seat);
        id
    }

    /// Takes in which queues the client had when the calls before `next` were under way.
    pub(super) fn look(&mut self, queues: &Queues, next: u64) {
        let aside = self.aside.values_mut().flat_map(|aside| &mut aside.calls);
        let aside = aside.map(|((_, id), seat)| (*id, seat));
        let threads = self.threads.iter_mut().map(|(id, seat)| (*id, seat));
        threads.chain(aside).filter(|(id, _)| *id < next).for_each(|(_, seat)| seat.look(queues));
    }

    /// Asks calls that take long to give their threads back.
    pub(super) fn ask(&self) {
        if self.threads.len() <= ENOUGH {
            return;
        }
        let mut first: HashMap<(&Queue, u64), i64> = HashMap::new();
        for seat in self.threads.values() {
            if let Some(of) = seat.of {
                let first = first.entry((&seat.queue, of)).or_insert(seat.first);
                *first = seat.first.min(*first);
            }
        }
        let is_behind = |seat: &Seat| {
            let first = seat.of.and_then(|of| first.get(&(&seat.queue, of)));
            first.is_some_and(|first| seat.first > *first)
        };
        let asked = self.threads.values().filter(|seat| seat.begun.elapsed() > LONG && is_behind(seat));
        asked.for_each(|seat| seat.asks.aside.notify_one());
    }

    /// Asks all calls that take long, where none can be set aside.
    pub(super) fn ask_all(&self) {
        if self.threads.len() > ENOUGH {
            let asked = self.threads.values().filter(|seat| seat.begun.elapsed() > LONG);
            asked.for_each(|seat| seat.asks.aside.notify_one());
        }
    }

    /// Sets a call aside, if it may return now. Whether its queue is lost.
    pub(super) fn set_aside(&mut self, id: u64) -> Option<bool> {
        let seat = self.threads.get(&id)?;
        let is_covered = || {
            let first = self.threads.values().filter(|other| other.is_beside(seat)).map(|other| other.first);
            first.min().is_some_and(|first| first < seat.first && seat.last - first <= i64::from(SPAN))
        };
        let weight = self.aside.get(&seat.queue).map_or(0, |aside| aside.bytes);
        let is_light = weight.saturating_add(seat.bytes) <= HEAVY;
        if !(seat.is_lost || is_light && is_covered()) {
            return None;
        }
        let seat = self.threads.remove(&id)?;
        let is_lost = seat.is_lost;
        seat.asks.is_aside.store(true, Ordering::Relaxed);
        let aside = self.aside.entry(seat.queue.clone()).or_default();
        aside.bytes += seat.bytes;
        aside.calls.insert((seat.first, id), seat);
        self.working_aside += 1;
        Some(is_lost)
    }

    /// Whether a call on a thread that is done has to stay there, for those that were set aside.
    pub(super) fn stay(&self, id: u64) -> Stay {
        let Some(seat) = self.threads.get(&id) else { return Stay::No };
        let Some(aside) = self.aside.get(&seat.queue) else { return Stay::No };
        let mut behind = aside.calls.range((seat.first, u64::MAX)..).map(|(_, seat)| seat);
        let Some(next) = behind.find(|other| other.is_beside(seat)) else { return Stay::No };
        let mut others = self.threads.iter().filter(|(other, _)| **other != id).map(|(_, other)| other);
        let is_covered = others.any(|other| other.is_beside(seat) && other.first < next.first);
        if is_covered {
            Stay::No
        } else if aside.is_left {
            Stay::ForGood
        } else {
            Stay::Yes
        }
    }

    /// A call on a thread is over. Whether its queue was lost.
    pub(super) fn over(&mut self, id: u64) -> bool {
        self.threads.remove(&id).is_some_and(|seat| seat.is_lost)
    }

    /// A call that was set aside is over. Whether one on a thread may have waited for it.
    pub(super) fn over_aside(&mut self, (queue, first, id): (&Queue, i64, u64), is_left: bool) -> bool {
        let Some(aside) = self.aside.get_mut(queue) else { return false };
        let Some(seat) = aside.calls.get(&(first, id)) else { return false };
        self.working_aside -= 1;
        if is_left && !seat.is_lost {
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
    pub(super) fn aside(&self) -> HashMap<CheetahString, usize> {
        let mut topics = HashMap::new();
        for (queue, aside) in &self.aside {
            let messages: usize = aside.calls.values().map(|seat| seat.messages).sum();
            *topics.entry(queue.topic().clone()).or_default() += messages;
        }
        topics
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAKEN_UP: u64 = 1_000_000;

    fn queue(id: i32) -> Queue {
        Queue::from_parts("orders", "broker", id)
    }

    fn queues(taken_up: u64) -> Queues {
        [(queue(0), taken_up)].into_iter().collect()
    }

    /// A call of one message that began a second after `taken_up`.
    fn call(seats: &mut Seats, first: i64, taken_up: u64) -> u64 {
        let stamp = Some(taken_up + 1_000);
        let id = seats.take(Seat::new(queue(0), (first, first), (1, 10), stamp));
        seats.look(&queues(taken_up), seats.next());
        id
    }

    #[test]
    fn the_first_call_of_a_queue_stays_until_those_that_were_set_aside_are_done() {
        let mut seats = Seats::default();
        let [first, second, third] = [10, 20, 30].map(|offset| call(&mut seats, offset, TAKEN_UP));
        assert_eq!(seats.set_aside(first), None);
        assert_eq!(seats.set_aside(third), Some(false));
        assert_eq!(seats.stay(first), Stay::No, "the second one stays");
        seats.over(first);
        assert_eq!(seats.set_aside(second), None, "it is the first one now");
        assert_eq!(seats.stay(second), Stay::Yes);
        assert_eq!((seats.on_threads(), seats.working()), (1, 2));
        seats.over_aside((&queue(0), 30, third), false);
        assert_eq!(seats.stay(second), Stay::No);
    }

    #[test]
    fn a_call_that_was_left_keeps_the_first_one_from_ever_saying_that_all_is_done() {
        let mut seats = Seats::default();
        let [first, second] = [10, 20].map(|offset| call(&mut seats, offset, TAKEN_UP));
        seats.set_aside(second);
        seats.over_aside((&queue(0), 20, second), true);
        assert_eq!(seats.stay(first), Stay::ForGood);
        assert_eq!(seats.working(), 1);
    }

    /// Its messages came again, and what is done before them moves the offset over those of the new call.
    #[test]
    fn a_call_from_before_the_queue_was_lost_stands_for_none_that_came_since() {
        let mut seats = Seats::default();
        let old = call(&mut seats, 10, TAKEN_UP);
        let new = call(&mut seats, 20, TAKEN_UP + 60_000);
        assert_eq!(seats.set_aside(new), None);
        assert_eq!(seats.set_aside(old), Some(true), "nobody listens to it any more");
        seats.look(&Queues::new(), seats.next());
        assert_eq!(seats.set_aside(new), Some(true));
    }

    #[test]
    fn what_began_before_its_queue_was_taken_up_or_has_none_is_not_set_aside() {
        let mut seats = Seats::default();
        call(&mut seats, 10, TAKEN_UP);
        for stamp in [None, Some(TAKEN_UP - 1), Some(TAKEN_UP + FIRST_CALL_MILLIS - 1)] {
            let other = seats.take(Seat::new(queue(0), (20, 20), (1, 10), stamp));
            seats.look(&queues(TAKEN_UP), seats.next());
            assert_eq!(seats.set_aside(other), None, "{stamp:?}");
        }
    }

    #[test]
    fn a_look_from_before_a_call_says_nothing_of_it() {
        let mut seats = Seats::default();
        let before = seats.next();
        let stamp = Some(TAKEN_UP + 1_000);
        let call = seats.take(Seat::new(queue(0), (10, 10), (1, 10), stamp));
        seats.look(&Queues::new(), before);
        assert!(!seats.over(call));
    }

    /// The client sees its offset, and pulls no more.
    #[test]
    fn a_call_that_is_far_behind_the_first_one_is_not_set_aside() {
        let mut seats = Seats::default();
        let span = i64::from(SPAN);
        let [first, near, far] = [10, 10 + span, 11 + span].map(|offset| call(&mut seats, offset, TAKEN_UP));
        assert_eq!([near, far].map(|call| seats.set_aside(call)), [Some(false), None]);
        seats.over(first);
        assert_eq!(seats.stay(far), Stay::No);
    }

    #[test]
    fn bodies_that_are_set_aside_are_bounded() {
        let mut seats = Seats::default();
        call(&mut seats, 0, TAKEN_UP);
        let stamp = Some(TAKEN_UP + 1_000);
        let heavy = [1, 2].map(|first| seats.take(Seat::new(queue(0), (first, first), (1, HEAVY), stamp)));
        seats.look(&queues(TAKEN_UP), seats.next());
        assert_eq!(heavy.map(|call| seats.set_aside(call)), [Some(false), None]);
        seats.over_aside((&queue(0), 1, heavy[0]), false);
        assert_eq!(seats.set_aside(heavy[1]), Some(false));
    }
}

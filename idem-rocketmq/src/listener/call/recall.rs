//! The messages of suspended queues, remembered until they come again.
//!
//! RocketMQ gives the whole batch again. The store too knows which messages were settled, but to ask it again would count
//! duplicates that are none, and run again the messages that have no key.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::client::Queue;

/// How a message ended before its queue was suspended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EarlierEnd {
    Settled,
    Failed { until: Instant, failures: u32, tries: u32 },
}

/// By the message's offset in its queue.
type QueueEnds = HashMap<i64, EarlierEnd>;

/// A queue that this member still has comes again within half a minute. One that was away, and whose offset an operator
/// may have set back meanwhile, is begun anew.
const LONGEST: Duration = Duration::from_mins(2);

#[derive(Default)]
pub(in crate::listener) struct SuspendedQueues(Mutex<HashMap<Queue, (Instant, QueueEnds)>>);

impl SuspendedQueues {
    pub(super) fn keep(&self, queue: &Queue, ends: QueueEnds) {
        let mut queues = self.0.lock();
        queues.retain(|_, (since, _)| since.elapsed() < LONGEST);
        queues.insert(queue.clone(), (Instant::now(), ends));
    }

    pub(super) fn take(&self, queue: &Queue) -> QueueEnds {
        let ends = self.0.lock().remove(queue);
        ends.filter(|(since, _)| since.elapsed() < LONGEST).map(|(_, ends)| ends).unwrap_or_default()
    }

    /// Forgets a queue.
    pub(in crate::listener) fn forget(&self, queue: &Queue) {
        self.0.lock().remove(queue);
    }
}

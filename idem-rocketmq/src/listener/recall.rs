//! What is remembered of the messages of a suspended queue until they come again.
//!
//! RocketMQ gives the whole batch again. What of it was settled is known to the store too, but to ask it again would count
//! duplicates that are none, and run again what has no key.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::client::Queue;
use parking_lot::Mutex;

/// What became of a message when its queue was suspended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Past {
    Settled,
    Failed { until: Instant, failures: u32, tries: u32 },
}

/// By the message's offset in its queue.
type Batch = HashMap<i64, Past>;

/// A queue that this member still has comes again within half a minute. One that was away, and whose offset an operator
/// may have set back meanwhile, is begun anew.
const LONGEST: Duration = Duration::from_mins(2);

#[derive(Default)]
pub(super) struct Recall(Mutex<HashMap<Queue, (Instant, Batch)>>);

impl Recall {
    pub(super) fn keep(&self, queue: &Queue, batch: Batch) {
        let mut queues = self.0.lock();
        queues.retain(|_, (since, _)| since.elapsed() < LONGEST);
        queues.insert(queue.clone(), (Instant::now(), batch));
    }

    pub(super) fn take(&self, queue: &Queue) -> Batch {
        let batch = self.0.lock().remove(queue);
        batch.filter(|(since, _)| since.elapsed() < LONGEST).map(|(_, batch)| batch).unwrap_or_default()
    }
}

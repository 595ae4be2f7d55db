//! How many listener calls there may be at once: a few while they are quick, many from when they take long.
//!
//! A thread more brings quick calls nothing: their messages only wait in the processor's cache for each other. Calls of slow
//! handlers need them, so that those of others come in beside them.

use std::sync::{Arc, Weak};
use std::time::Duration;

use super::calls::{CallsState, ListenerCalls, ThreadStage};
use crate::listener::Broker;

/// How many at first. Each call holds up to 32 messages.
pub(crate) const FEW: u32 = 32;

/// How many at most.
pub(crate) use crate::client::LISTENER_THREADS as THREADS;

/// The time between two looks at calls that take all threads.
const LOOK: Duration = Duration::from_millis(100);

/// Looks until the few threads are enough again, or all are given to calls that take longer than a look.
pub(super) async fn look(calls: Arc<ListenerCalls>, client: Weak<dyn Broker>) {
    while calls.state.lock().threads == ThreadStage::Looking {
        let ended = calls.state.lock().ended;
        tokio::time::sleep(LOOK).await;
        let Some(client) = client.upgrade() else { return };
        let threads = calls.state.lock().look(ended);
        if threads == ThreadStage::Many {
            client.take_threads(THREADS).await;
        }
    }
}

impl CallsState {
    /// Decides, when so many calls had ended at the last look.
    fn look(&mut self, ended: u64) -> ThreadStage {
        self.threads = if self.seats.on_threads() < FEW as usize {
            ThreadStage::Few
        } else if self.ended - ended < u64::from(FEW) {
            ThreadStage::Many
        } else {
            ThreadStage::Looking
        };
        self.threads
    }
}

#[cfg(test)]
mod tests {
    use super::super::seats::CallSeat;
    use super::*;
    use crate::client::Queue;

    #[test]
    fn all_threads_are_taken_where_calls_take_them_all_and_longer_than_a_look() {
        let looked = |working, ended| {
            let mut state = CallsState { ended, ..CallsState::default() };
            for call in 0..working {
                let queue = Queue::from_parts("orders", "broker", 0);
                state.seats.take(CallSeat::new(queue, (call, call), (1, 1), None));
            }
            state.look(0)
        };
        assert!(looked(32, 32) == ThreadStage::Looking, "each call has ended once");
        assert!(looked(32, 31) == ThreadStage::Many, "one has not");
        assert!(looked(31, 0) == ThreadStage::Few, "one thread is free");
    }
}

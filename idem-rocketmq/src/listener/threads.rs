//! How many listener calls there may be at once: a few while they are quick, many from when they take long.
//!
//! A thread more brings quick calls nothing: their messages only wait in the processor's cache for each other. Calls of slow
//! handlers need them, so that those of others come in beside them.

use std::sync::{Arc, Weak};
use std::time::Duration;

use super::{Broker, Calls};

/// How many at first. Each call holds up to 32 messages.
pub(crate) const FEW: u32 = 32;

/// How many at most. A thread that waits for its messages sleeps.
pub(crate) const THREADS: u32 = 400;

/// The time between two looks at calls that take all threads.
const LOOK: Duration = Duration::from_millis(100);

/// Who has to see to more threads.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Threads {
    /// The next call that takes the last of the few.
    #[default]
    Few,
    /// A task looks.
    Looking,
    /// Nobody any more.
    Many,
}

/// Looks until the few threads are enough again, or all are given to calls that take longer than a look.
pub(super) async fn look(calls: Arc<Calls>, client: Weak<dyn Broker>) {
    loop {
        let ended = calls.state.lock().ended;
        tokio::time::sleep(LOOK).await;
        let Some(client) = client.upgrade() else { return };
        {
            let mut state = calls.state.lock();
            if state.working < FEW as usize {
                state.threads = Threads::Few;
                return;
            }
            if state.ended - ended >= u64::from(FEW) {
                continue;
            }
            state.threads = Threads::Many;
        }
        client.take_threads(THREADS).await;
        return;
    }
}

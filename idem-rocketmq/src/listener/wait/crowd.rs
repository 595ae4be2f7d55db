//! When a call sends its messages back, so that a slow handler starves no other.
//!
//! Calls that wait give their threads back (`ticket.rs`), but the first and the last one of a queue do not. Where hundreds of
//! queues wait for a slow handler, those hold nearly all threads, and another handler's messages get none. Then calls that wait
//! for the slow one send their messages back. A crowd alone is no reason: after an outage of the store all threads may be taken too,
//! by messages whose turn comes within moments.

use std::sync::{Arc, Weak};
use std::time::Duration;

use super::threads::THREADS;
use crate::listener::Bridge;
use crate::listener::dispatch::RegisteredHandler;

/// How many may be under way before calls that wait for slow handlers give up their threads.
pub(crate) const CROWD: usize = THREADS as usize / 10 * 9;

/// The time between two looks at the handlers' pace.
const LOOK: Duration = Duration::from_secs(1);

/// Looks at the handlers of a bridge for as long as there is one.
pub(in crate::listener) fn watch(bridge: &Arc<Bridge>) {
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
    pub(in crate::listener) fn relieve(&self) {
        let handlers = self.dispatch.handlers();
        if handlers.iter().all(|handler| handler.pace.is_slow()) {
            return;
        }
        let slow = handlers.iter().filter(|handler| handler.pace.is_slow());
        slow.for_each(|handler| handler.pace.relief.notify_last());
    }

    /// Waits until this call is to give up its thread because of `handler`, for which it waits.
    pub(in crate::listener) async fn crowded(&self, handler: &RegisteredHandler) {
        loop {
            handler.pace.relief.notified().await;
            if handler.pace.is_slow() && self.working() > CROWD {
                return;
            }
        }
    }
}

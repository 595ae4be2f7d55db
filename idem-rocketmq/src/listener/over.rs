//! Runs that are over, and wait to be settled together.

use std::mem;
use std::sync::{Arc, Weak};
use std::time::Duration;

use idem_core::engine::{Finished, Gate};
use parking_lot::Mutex;

use super::Bridge;
use super::run::Rest;

/// The time between two looks at the handlers. A lease that is not much longer has them more often: nobody renews those of
/// runs that are over.
const LOOK: Duration = Duration::from_secs(1);
const LOOKS_IN_A_LEASE: u32 = 4;

/// The runs of one call and one handler that are over.
#[derive(Default)]
pub(super) struct Over(Mutex<Vec<(Finished, Rest)>>);

impl Over {
    pub(super) fn add(&self, run: Option<(Finished, Rest)>) {
        self.0.lock().extend(run);
    }

    /// Settles what is over by now. Each run reports by itself.
    pub(super) async fn settle(&self, gate: &Gate) {
        let (finished, rests): (Vec<_>, Vec<_>) = mem::take(&mut *self.0.lock()).into_iter().unzip();
        let mut rests: Vec<_> = rests.into_iter().map(Some).collect();
        let tell = |place: usize, settled| {
            if let Some(rest) = rests[place].take() {
                rest.settled(settled);
            }
        };
        gate.settle_each(finished, tell).await;
    }
}

/// What is over in the calls that are beginning runs of a handler.
///
/// A call settles it when all of its runs have begun. Where one of them blocks the thread meanwhile, the next look does, so
/// that a crash or the end of their leases does not repeat the work of its neighbours.
#[derive(Default)]
pub(crate) struct Unsettled(Mutex<Vec<Weak<Over>>>);

impl Unsettled {
    /// Of a call that begins so many runs.
    pub(super) fn of_call(&self, runs: usize) -> Arc<Over> {
        let over = Arc::default();
        if runs > 1 {
            self.0.lock().push(Arc::downgrade(&over));
        }
        over
    }

    /// The calls that are still beginning runs.
    fn calls(&self) -> Vec<Arc<Over>> {
        let mut calls = self.0.lock();
        calls.retain(|over| over.strong_count() > 0);
        calls.iter().filter_map(Weak::upgrade).collect()
    }
}

/// Settles what is over behind a run that blocks its thread, for as long as there is a bridge.
pub(super) fn watch(bridge: &Arc<Bridge>) {
    let leases = bridge.dispatch.handlers().iter().map(|handler| handler.gate.policy().lease);
    let every = leases.min().map_or(LOOK, |lease| LOOK.min(lease / LOOKS_IN_A_LEASE));
    let weak = Arc::downgrade(bridge);
    bridge.spawn("settling", async move {
        loop {
            tokio::time::sleep(every).await;
            let Some(bridge) = Weak::upgrade(&weak) else { return };
            for handler in bridge.dispatch.handlers() {
                for over in handler.unsettled.calls() {
                    let gate = handler.gate.clone();
                    bridge.spawn("settling", async move { over.settle(&gate).await });
                }
            }
        }
    });
}

//! Runs that are over, and wait to be settled together.

use std::mem;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use idem_core::engine::{Finished, Gate};
use parking_lot::Mutex;

use super::ready::RunFollowUp;
use super::unsettled::{UnsettledCall, UnsettledCalls};
use crate::listener::Bridge;

/// The time between two looks at the handlers. A lease that is not much longer has them more often: nobody renews those of
/// runs that are over.
const LOOK: Duration = Duration::from_secs(1);
const LOOKS_IN_A_LEASE: u32 = 4;

/// The runs of one call and one handler that are over.
#[derive(Default)]
pub(super) struct EndedRuns(Mutex<Vec<(Finished, RunFollowUp)>>);

impl EndedRuns {
    /// Of a call that begins so many runs.
    pub(super) fn of_call(runs: usize, unsettled: &UnsettledCalls) -> Arc<Self> {
        let ended = Arc::<Self>::default();
        if runs > 1 {
            let call: Weak<Self> = Arc::downgrade(&ended);
            unsettled.add(call);
        }
        ended
    }

    pub(super) fn add(&self, run: Option<(Finished, RunFollowUp)>) {
        self.0.lock().extend(run);
    }

    /// Settles the runs that are over by now. Each run reports by itself.
    pub(super) async fn settle(&self, gate: &Gate) {
        let (finished, follow_ups): (Vec<_>, Vec<_>) = mem::take(&mut *self.0.lock()).into_iter().unzip();
        let mut follow_ups: Vec<_> = follow_ups.into_iter().map(Some).collect();
        let tell = |place: usize, settled| {
            if let Some(follow_up) = follow_ups[place].take() {
                follow_up.settled(settled);
            }
        };
        gate.settle_each(finished, tell).await;
    }
}

impl UnsettledCall for EndedRuns {
    fn settle_now(self: Arc<Self>, gate: Gate) -> BoxFuture<'static, ()> {
        async move { self.settle(&gate).await }.boxed()
    }
}

/// Settles the runs that are over behind one that blocks its thread, for as long as there is a bridge.
pub(in crate::listener) fn watch(bridge: &Arc<Bridge>) {
    let leases = bridge.dispatch.handlers().iter().map(|handler| handler.gate.policy().lease);
    let every = leases.min().map_or(LOOK, |lease| LOOK.min(lease / LOOKS_IN_A_LEASE));
    let weak = Arc::downgrade(bridge);
    bridge.spawn("settling", async move {
        loop {
            tokio::time::sleep(every).await;
            let Some(bridge) = Weak::upgrade(&weak) else { return };
            for handler in bridge.dispatch.handlers() {
                for call in handler.unsettled.calls() {
                    bridge.spawn("settling", call.settle_now(handler.gate.clone()));
                }
            }
        }
    });
}

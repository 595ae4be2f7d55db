//! Messages of a call that wait for their handler's permits.

use std::collections::VecDeque;
use std::sync::Arc;

use idem_core::engine::Leader;

use super::Bridge;
use super::call::Event;
use super::dispatch::Handler;

/// The leaders of one handler that are yet to be claimed, with their messages' places.
pub(super) struct Waiting {
    pub(super) handler: Arc<Handler>,
    pub(super) places: VecDeque<usize>,
    pub(super) leaders: VecDeque<Leader>,
}

impl Waiting {
    pub(super) fn at(handler: Arc<Handler>) -> Self {
        Self { handler, places: VecDeque::new(), leaders: VecDeque::new() }
    }

    /// Claims those for which there are permits; or none, where the call is to give up its thread.
    pub(super) async fn claim(mut self, bridge: &Bridge) -> Event {
        let gate = &self.handler.gate;
        let waits = self.handler.pace.wait(self.leaders.len());
        let (at_least, at_most) = self.handler.start_together(self.leaders.len());
        let permits = tokio::select! {
            biased;
            permits = gate.reserve(at_least, at_most) => permits,
            () = bridge.crowded(&self.handler) => {
                drop(waits);
                return Event::Deferred(self);
            }
        };
        drop(waits);
        let admissions = gate.claim_reserved(permits, &mut self.leaders).await;
        let places = self.places.drain(..admissions.len());
        let admissions = places.zip(admissions).collect();
        Event::Claimed { admissions, rest: (!self.leaders.is_empty()).then_some(self) }
    }
}

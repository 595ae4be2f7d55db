//! Messages of a call that wait for their handler's permits.

use std::collections::VecDeque;
use std::sync::Arc;

use idem_core::engine::{Admission, Leader};

use super::message::EnteredMessage;
use crate::listener::Bridge;
use crate::listener::dispatch::RegisteredHandler;

/// Something that a call waits for.
pub(super) enum CallEvent {
    /// The call gives up its thread: the leaders that wait for a busy handler are sent back.
    Deferred(WaitingLeaders),
    /// Leaders of one handler were claimed; the others wait for permits.
    ClaimedRun {
        admitted: Vec<(EnteredMessage, Admission)>,
        rest: Option<WaitingLeaders>,
    },
    Admitted(EnteredMessage, Admission),
    /// The broker has stored a copy of the message.
    Copied(usize),
    /// The consumer was closed first: the message is left to the broker.
    Closed(usize),
    /// The time of a parked message has come.
    Due(usize),
}

/// The leaders of one handler that are yet to be claimed.
pub(super) struct WaitingLeaders {
    pub(super) handler: Arc<RegisteredHandler>,
    pub(super) leaders: VecDeque<(EnteredMessage, Leader)>,
}

impl WaitingLeaders {
    pub(super) fn at(handler: Arc<RegisteredHandler>) -> Self {
        Self { handler, leaders: VecDeque::new() }
    }

    /// Claims the leaders for which there are permits; or none, if the call is to give up its thread.
    pub(super) async fn claim(self, bridge: &Bridge) -> CallEvent {
        let gate = &self.handler.gate;
        let waits = self.handler.pace.wait(self.leaders.len());
        let (at_least, at_most) = self.handler.start_together(self.leaders.len());
        let permits = tokio::select! {
            biased;
            permits = gate.reserve(at_least, at_most) => permits,
            () = bridge.crowded(&self.handler) => {
                drop(waits);
                return CallEvent::Deferred(self);
            }
        };
        drop(waits);
        let (messages, mut leaders): (Vec<_>, VecDeque<_>) = self.leaders.into_iter().unzip();
        let mut messages = messages.into_iter();
        // One admission for each of the first leaders, which are taken off.
        let admissions = gate.claim_reserved(permits, &mut leaders).await;
        let admitted = messages.by_ref().take(admissions.len()).zip(admissions).collect();
        let leaders: VecDeque<_> = messages.zip(leaders).collect();
        let rest = (!leaders.is_empty()).then_some(Self { handler: self.handler, leaders });
        CallEvent::ClaimedRun { admitted, rest }
    }
}

//! One message of a call, and where it is on its way.

use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use idem_core::RecordKey;

use crate::client::Delivery;
use crate::handler::Run;
use crate::listener::dispatch::{GateEntry, RegisteredHandler};

/// One message of the call.
pub(super) struct CallMessage {
    pub(super) delivery: Arc<Delivery>,
    /// The handler with its index, if this process has one for the message.
    pub(super) handler: Option<(usize, Arc<RegisteredHandler>)>,
    /// Set when the message enters the engine, if it has a key.
    pub(super) key: Option<RecordKey>,
    /// The place of the message that follows when this one is settled.
    pub(super) next: Option<usize>,
    /// How many attempts have failed, where no record counts them.
    pub(super) failures: u32,
    /// How often it was tried again in place.
    pub(super) tries: u32,
    pub(super) state: MessageState,
}

/// Where a message is on its way through its call.
pub(super) enum MessageState {
    /// It waits for its turn. A message that was tried before, or that no handler takes, is not decoded.
    Waiting(Option<GateEntry>),
    /// It is a retry that came before its time and still has to wait this long.
    Early(Duration),
    /// The engine or the broker has it.
    Entered,
    /// Its handler works on it.
    Running,
    /// It is tried again in place, not before this time.
    Parked {
        until: Instant,
        entry: Option<GateEntry>,
    },
    Settled,
    /// It is left to the broker.
    Left,
}

/// A message that the engine has, with what its run needs.
pub(super) struct EnteredMessage {
    pub(super) place: usize,
    pub(super) handler: Arc<RegisteredHandler>,
    /// None if the message can only be decided.
    pub(super) run: Option<Run>,
}

impl CallMessage {
    pub(super) fn hash(&self) -> Option<u64> {
        self.key.as_ref().map(RecordKey::hash64)
    }

    /// Lets the message in. Returns its handler and what was decoded; `None` if no handler takes it.
    pub(super) fn let_in(&mut self) -> Option<(usize, Arc<RegisteredHandler>, GateEntry)> {
        let state = mem::replace(&mut self.state, MessageState::Entered);
        let (index, handler) = self.handler.clone()?;
        let entry = match state {
            MessageState::Waiting(Some(entry)) => entry,
            _ => handler.prepare(&self.delivery).entry,
        };
        Some((index, handler, entry))
    }
}

impl MessageState {
    pub(super) const fn is_running(&self) -> bool {
        matches!(self, Self::Running)
    }

    /// Whether the call has nothing more to do for the message.
    pub(super) const fn is_closed(&self) -> bool {
        matches!(self, Self::Settled | Self::Left)
    }
}

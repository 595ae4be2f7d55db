//! A message that is decided.

use std::fmt;

use super::Leader;
use crate::engine::verdict;
use crate::outcome::Decision;
use crate::store::Attempts;

/// A message that is decided.
#[derive(Debug)]
#[must_use]
pub struct Settled {
    /// The decision.
    pub decision: Decision,
    /// The key, still held, where the message is to become a dead letter: to be released when the broker has
    /// confirmed the dead letter, so that no duplicate runs meanwhile.
    pub held: Option<HeldKey>,
}

impl Settled {
    pub(in crate::engine) fn of(decision: Decision) -> Self {
        Self { decision, held: None }
    }

    pub(in crate::engine) fn leave() -> Self {
        Self::of(verdict::shutdown())
    }
}

/// A key that is held while its message becomes a dead letter. Dropping it gives the key back with its attempts.
pub struct HeldKey {
    leader: Option<Leader>,
}

impl HeldKey {
    pub(in crate::engine) fn new(leader: Leader) -> Self {
        let engine = &leader.gate.0.engine;
        engine.watch.hold(&leader.flight, leader.gate.policy(), engine.clock.now());
        Self { leader: Some(leader) }
    }

    /// Gives the key back with all its attempts: the broker has the dead letter, and a replay starts anew. Waits for the
    /// store no longer than the lease is.
    ///
    /// # Cancel safety
    /// Once polled, the release goes on when this is dropped. Dropped before, it gives the key back with its attempts as they
    /// were.
    pub async fn release(mut self, decision: &Decision) {
        let Some(leader) = self.leader.take() else { return };
        let gate = leader.gate.clone();
        let decision = decision.clone();
        let releasing = gate.0.engine.settling(async move {
            let gate = leader.gate.clone();
            gate.0.engine.watch.remove(&leader.flight);
            if let Some(request) = leader.release_request(Attempts::Reset) {
                gate.release(&leader.flight, request).await;
            }
            leader.decide(decision);
        });
        let _ = tokio::time::timeout(gate.policy().lease, releasing).await;
    }
}

impl fmt::Debug for HeldKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HeldKey")
    }
}

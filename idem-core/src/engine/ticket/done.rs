//! A message whose handler has returned `Ok`.

use std::fmt;
use std::sync::Arc;

use super::Leader;
use crate::engine::Gate;
use crate::engine::verdict::{self, Arrival, Completion};
use crate::lease::Flight;
use crate::outcome::Decision;
use crate::store::{Answer, CompleteRequest};

/// A message whose handler has returned `Ok`, and whose key is to be completed. There is no way from here to a release.
///
/// Invariant 8: where it is dropped before the store has answered, the completion is asked for on idem's own runtime until
/// it is answered (`invariant_8_what_is_dropped_behind_an_ok_is_completed`).
pub(in crate::engine) struct Done {
    leader: Option<Leader>,
    flight: Arc<Flight>,
}

impl Done {
    pub(in crate::engine) fn of(mut leader: Leader) -> Self {
        leader.is_claimed = false;
        let flight = leader.flight.clone();
        Self { leader: Some(leader), flight }
    }

    pub(in crate::engine) fn flight(&self) -> &Arc<Flight> {
        &self.flight
    }

    /// The completion, when the store has recorded it.
    pub(in crate::engine) fn recorded(&self) -> Completion {
        self.flight.recorded()
    }

    pub(in crate::engine) fn message(&self) -> Arrival {
        self.leader.as_ref().map(Leader::message).unwrap_or_default()
    }

    pub(in crate::engine) fn request(&self, gate: &Gate) -> Option<CompleteRequest> {
        gate.complete_request(&self.flight)
    }

    /// The store has answered. Whoever waits for this key takes `decision` too.
    pub(in crate::engine) fn decide(mut self, decision: Decision) -> Decision {
        match self.leader.take() {
            Some(leader) => leader.decide(decision),
            None => decision,
        }
    }
}

impl Drop for Done {
    fn drop(&mut self) {
        let Some(leader) = self.leader.take() else { return };
        let engine = leader.gate.0.engine.clone();
        engine.settling(complete(leader));
    }
}

/// A completion that comes later than the retention would say nothing that a retry could still hear.
async fn complete(leader: Leader) {
    let gate = leader.gate.clone();
    let asking = gate.ask_to_complete(&leader.flight);
    let answer = tokio::time::timeout(gate.policy().retention, asking).await;
    match answer {
        Ok(Ok(Answer::Done)) => {
            let (policy, message) = (gate.policy(), leader.message());
            drop(leader.decide(verdict::completion(policy, &message, 0, Completion::Recorded, false)));
        }
        Ok(Ok(Answer::Lost) | Err(_)) | Err(_) => leader.abandon(),
    }
}

impl fmt::Debug for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Done")
    }
}

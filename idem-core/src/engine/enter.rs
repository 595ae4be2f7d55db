//! Where equal keys of one process meet, so that only the first of them asks the store.

use std::sync::Arc;
use std::time::Duration;

use super::ticket::{Admission, Leader, Settled};
use super::verdict::{self, Admit, Patience};
use super::{Gate, Job};
use crate::lease::{Flight, FlightEnd};
use crate::outcome::Decision;
use crate::record::State;

/// How a message enters the engine.
#[derive(Debug)]
pub enum Entry {
    /// The first message of its key in this process: to be claimed.
    Leader(Leader),
    /// Its key is in flight already: it waits for the first one's verdict.
    Follower(Follower),
    /// Its key is completed, and this process [knows](crate::Store::known) it.
    Decided(Settled),
}

impl Entry {
    /// The leader, where the message is one.
    pub fn into_leader(self) -> Option<Leader> {
        match self {
            Self::Leader(leader) => Some(leader),
            Self::Follower(_) | Self::Decided(_) => None,
        }
    }
}

/// A message whose key is in flight in this process.
pub struct Follower {
    gate: Gate,
    flight: Arc<Flight>,
    job: Job,
}

impl Gate {
    /// Lets a message in.
    pub fn enter(&self, job: Job) -> Entry {
        if let Some(known) = self.0.engine.known(&job.key)
            && let Admit::Decide(decision) =
                verdict::claim(self.policy(), &job.arrival(), &Patience::default(), &Ok(known))
        {
            return Entry::Decided(Settled::of(decision));
        }
        let new = || Flight::new(Some(job.key.clone()), job.fingerprint, job.message);
        match self.0.engine.flights.enter(&job.key, new) {
            Ok(flight) => Entry::Leader(Leader::new(self.clone(), flight, &job)),
            Err(flight) => Entry::Follower(Follower { gate: self.clone(), flight, job }),
        }
    }
}

impl Follower {
    /// Waits for the first message's verdict, no longer than the handler may run, and takes it as its own.
    ///
    /// # Cancel safety
    /// Nothing is lost when this is dropped: a follower holds neither a permit nor a lease.
    pub async fn admit(self) -> Admission {
        let Self { gate, flight, job } = &self;
        let mismatch =
            verdict::mismatch(gate.policy(), State::InProgress, flight.fingerprint, &job.arrival());
        match mismatch {
            Some(Admit::RunWithoutDedup { attempt }) => gate.admit_without_dedup(attempt).await,
            Some(Admit::Decide(decision) | Admit::DecideAlone(decision)) => {
                Admission::Decided(Settled::of(decision))
            }
            _ => Admission::Decided(Settled::of(self.verdict().await)),
        }
    }

    async fn verdict(&self) -> Decision {
        let Self { gate, flight, job } = self;
        // The handler's time counts; a completion that the store does not take yet holds this message too.
        let too_long = async {
            loop {
                let started = flight.has_started().await;
                tokio::time::sleep(gate.policy().timeout).await;
                if flight.started() == Some(started) {
                    break;
                }
            }
        };
        let in_progress = || verdict::in_progress(gate.policy(), Duration::ZERO, job.redeliveries);
        tokio::select! {
            biased;
            end = flight.ended() => match end {
                FlightEnd::Decided(decision) => verdict::follow(decision),
                FlightEnd::Abandoned => in_progress(),
            },
            () = gate.0.engine.stop.cancelled() => verdict::shutdown(),
            () = too_long => in_progress(),
        }
    }
}

impl std::fmt::Debug for Follower {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Follower").field("key", &self.job.key).finish_non_exhaustive()
    }
}

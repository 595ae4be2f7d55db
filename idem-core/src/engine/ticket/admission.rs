//! A message whose claim was answered.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::OwnedSemaphorePermit;

use super::{Leader, Member, OpenTransaction, Settled};
use crate::engine::Gate;
use crate::lease::Flight;

/// The result of a message's claim.
pub enum Admission {
    /// The handler is to be run, at once.
    Run(ClaimedRun),
    /// The message is decided without a run.
    Decided(Settled),
    /// Not yet: the store does not answer, or the policy waits in place. To be awaited beside its neighbours.
    Later(BoxFuture<'static, Admission>),
}

/// The right to run the handler for one message, with the permit to do it now. Dropping it gives both back.
pub struct ClaimedRun {
    pub(in crate::engine) gate: Gate,
    /// `None` in a run without dedup.
    pub(in crate::engine) leader: Option<Leader>,
    pub(in crate::engine) flight: Arc<Flight>,
    pub(in crate::engine) attempt: u32,
    pub(in crate::engine) permit: OwnedSemaphorePermit,
    pub(in crate::engine) transaction: Option<OpenTransaction>,
    /// Where the transaction is shared with other runs.
    pub(in crate::engine) member: Option<Member>,
}

/// The judgement of one answer.
pub(in crate::engine) enum Judgement {
    Admitted(Admission),
    Again(RepeatedClaim),
}

/// A key that is to be claimed again.
pub(in crate::engine) struct RepeatedClaim {
    pub(in crate::engine) leader: Leader,
    pub(in crate::engine) permit: Option<OwnedSemaphorePermit>,
    pub(in crate::engine) after: Duration,
}

impl fmt::Debug for ClaimedRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClaimedRun").field("attempt", &self.attempt).finish_non_exhaustive()
    }
}

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Run(claimed) => claimed.fmt(f),
            Self::Decided(settled) => settled.fmt(f),
            Self::Later(_) => f.write_str("Later"),
        }
    }
}

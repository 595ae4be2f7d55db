//! A message at each step: a type that only the step before it can make.
//!
//! A ticket that is dropped does what is safe at its step: a [`Leader`] gives its key back, a [`Done`] completes it.

mod admission;
mod done;
mod finished;
mod leader;
mod member;
mod open;
mod settled;

pub use self::admission::{Admission, ClaimedRun};
pub(super) use self::admission::{Judgement, RepeatedClaim};
pub(super) use self::done::Done;
pub use self::finished::Finished;
pub(super) use self::finished::{Ending, RunResult, kept_nothing};
pub use self::leader::Leader;
pub(super) use self::member::{Member, MemberResult, SharedEnd, end};
pub use self::open::{Commit, LentTransaction, OpenTransaction};
pub(super) use self::open::{SlottedTransaction, TransactionSetup};
pub use self::settled::{HeldKey, Settled};

//! What a message is at each step: a type that only the step before it can make.
//!
//! A ticket that is dropped does what is safe at its step: a [`Leader`] gives its key back, a [`Done`] completes it.

mod admission;
mod done;
mod finished;
mod leader;
mod member;
mod open;
mod settled;
mod turn;

pub use self::admission::{Admission, Claimed};
pub(super) use self::admission::{Again, Judged};
pub(super) use self::done::Done;
pub use self::finished::Finished;
pub(super) use self::finished::{Ending, Ran, kept_nothing};
pub use self::leader::Leader;
pub(super) use self::member::{End, Member, Over, end};
pub use self::open::{Commit, LentTransaction, OpenTransaction};
pub(super) use self::open::{Open, Transacts};
pub use self::settled::{Held, Settled};
pub(crate) use self::turn::Turn;

//! What a message is at each step: a type that only the step before it can make.
//!
//! A ticket that is dropped does what is safe at its step: a [`Leader`] gives its key back, a [`Done`] completes it.

mod done;
mod finished;
mod leader;
mod settled;
mod turn;

pub(super) use self::done::Done;
pub use self::finished::Finished;
pub(super) use self::finished::{Ending, Ran};
pub use self::leader::Leader;
pub use self::settled::{Held, Settled};
pub(crate) use self::turn::Turn;

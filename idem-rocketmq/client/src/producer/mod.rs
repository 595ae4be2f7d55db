//! A member of a producer group, each attempt of a send, and the end of a transaction.

mod attempts;
mod checks;
mod client;
mod ending;
mod outgoing;
mod sending;

pub use self::checks::{CheckBack, CheckBackReply};
pub use self::client::{HalfMessage, ProducerClient};
pub use self::outgoing::{Delay, WireMessage};
pub use self::sending::{Placement, SendFailure, place};

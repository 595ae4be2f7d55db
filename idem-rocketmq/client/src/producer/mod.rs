//! What sends: a member of a producer group, each attempt of a send, and the end of a transaction.

mod checks;
mod client;
mod ending;
mod outgoing;
mod sending;

pub use self::checks::{CheckBack, Checked};
pub use self::client::{Half, ProducerClient};
pub use self::outgoing::{Delay, Wire};
pub use self::sending::{Placed, SendFailure, place};

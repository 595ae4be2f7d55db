//! A member of a consumer group, from its start to its end.

mod chores;
mod client;
mod copy;
mod gate;
mod listener;
mod session;
mod start;

pub use self::client::Client;
pub(super) use self::copy::CopyRequest;
pub use self::copy::{CopyExtent, CopyPurpose, LONGEST_TIMER, PROPERTIES_BYTES, Retry};
pub use self::listener::{ConsumeStatus, Listener};
pub use self::session::Queues;

//! How messages are settled: their decisions, the copies that the broker stores for them, and the event and count of each.

mod copies;
mod decisions;
mod report;

pub(super) use self::copies::{attempts, left_to_wait};
pub(super) use self::decisions::Decisions;
pub(super) use self::report::{Meter, unhandled};

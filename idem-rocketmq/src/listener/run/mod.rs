//! The runs of a listener call: each on the call's thread at first, then in a task of the user's runtime.
//!
//! Those that are over at once are settled together, so that a call of quick handlers costs the store two round trips.

mod ended;
mod launch;
mod pace;
mod ready;
mod report;
mod span;
mod task;
mod unsettled;

pub(super) use self::ended::watch;
pub(super) use self::launch::start;
pub(super) use self::pace::Pace;
pub(super) use self::ready::ReadyRun;
pub(super) use self::report::{CallProgress, RunEnd, RunReport, RunReporter};
pub(crate) use self::span::OnSpan;
pub(super) use self::span::of_batch as batch_span;
pub(super) use self::unsettled::UnsettledCalls;

//! Handlers that take many messages at once.

mod call;
mod erased;
mod failures;
mod items;
mod plain;
#[cfg(test)]
mod tests;

use futures_util::future::BoxFuture;

use super::Needs;

pub use self::call::BatchCall;
pub(super) use self::erased::{BatchRun, gather};
pub use self::failures::{BatchFailures, BatchResult, BatchReturn};
pub use self::items::{Batch, BatchItem, FromBatch};
pub(super) use self::plain::BatchBound;

#[doc = include_str!("../../docs/batches.md")]
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a batch handler of payload `{P}`",
    label = "not a batch handler",
    note = "a batch handler is an `async fn` or a closure that returns a future: a `Vec` of payloads or a `Batch` first, then extractors for the whole call, such as `State<T>`, at most six",
    note = "it returns nothing, a `Result<(), E>` for all, or a `BatchResult`; its future must be `Send`"
)]
pub trait BatchHandler<P, M = ()>: Send + Sync + 'static {
    /// Says which states a call looks up, so that a missing one is found at start-up.
    fn needs(&self, needs: &mut Needs) {
        let _ = needs;
    }

    /// Handles the messages of a batch, which has at least one.
    fn call<'d>(&'d self, batch: Batch<P>, call: BatchCall<'d>) -> BoxFuture<'d, BatchResult>;
}

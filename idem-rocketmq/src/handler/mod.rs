//! Handlers, their results, and the routes that lead messages to them.

mod batch;
mod build;
mod call;
mod doubt;
mod erased;
mod key;
mod needs;
mod output;
mod plain;
pub(crate) mod route;
#[cfg(test)]
mod tests;

/// The future of a hand-written [`Handler`].
pub use futures_util::future::BoxFuture;
#[doc = include_str!("../docs/errors.md")]
pub use idem_core::HandlerError;
pub use idem_core::{Disposition, HandlerResult, Happened, Reject, ResultExt, Retry, Uncertain};

pub use self::batch::{
    Batch, BatchCall, BatchFailures, BatchHandler, BatchItem, BatchResult, BatchReturn, FromBatch,
};
pub use self::build::{Unkeyed, batch_handler, batch_handler_with, handler, handler_with};
pub use self::call::Call;
pub(crate) use self::call::CallContext;
pub use self::doubt::Check;
pub(crate) use self::erased::{ErasedHandler, Prepared, Run};
pub use self::key::KeySource;
pub use self::needs::Needs;
pub use self::output::HandlerReturn;
pub use self::route::{IntoRoute, LONGEST_BATCH, Route, RouteError};

#[doc = include_str!("../docs/handlers.md")]
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handler of payload `{P}`",
    label = "not a handler",
    note = "a handler is an `async fn` or a closure that returns a future: the payload first, then extractors that own what they take, at most six; it returns nothing or a `Result`",
    note = "its future must be `Send`; arguments by reference need `#[idempotent]`"
)]
pub trait Handler<P, M = ()>: Send + Sync + 'static {
    /// Says which states a call looks up, so that a missing one is found at start-up.
    fn needs(&self, needs: &mut Needs) {
        let _ = needs;
    }

    /// Handles one payload.
    fn call<'d>(&'d self, payload: P, call: Call<'d>) -> BoxFuture<'d, HandlerResult>;
}

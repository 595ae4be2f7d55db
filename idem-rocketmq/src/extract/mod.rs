//! Values that a handler takes besides the payload.

mod attempt;
mod batch;
mod connection;
mod delivery;
mod doubt;
mod error;
mod extracted;
mod key;
mod lease;
mod state;
#[cfg(test)]
mod tests;

pub use self::batch::BatchExtract;
pub use self::error::ExtractError;
use self::extracted::Extracted;
pub use self::state::State;
pub use crate::client::{Delivery, DeliveryBuilder};
pub use crate::handler::{BatchCall, Call, Needs};
pub use idem_core::{Attempt, Doubt, DoubtCause, Fence, Lease};

#[doc = include_str!("../docs/extractors.md")]
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a handler's argument",
    label = "not an extractor",
    note = "a value that you gave to the consumer with `.state(..)` is taken as `State<{Self}>`",
    note = "the payload is the first argument; after it come `State<T>`, `&Delivery`, `Arc<Delivery>`, `Attempt`, `Lease`, `IdempotencyKey`, `Option<Doubt>`, or a type of yours that implements `Extract`"
)]
pub trait Extract<'d>: Sized {
    /// Says which states [`extract`](Self::extract) looks up, so that a missing one is found at start-up.
    fn needs(needs: &mut Needs) {
        let _ = needs;
    }

    /// Takes the value out of the call. Implementations write `async fn extract`, and may wait: for a row, or another service.
    /// It is part of the run, whose time-out holds for it.
    ///
    /// # Errors
    /// The value is not there. The message is then treated as if the handler had returned this error.
    fn extract(call: &mut Call<'d>) -> impl Future<Output = Result<Self, ExtractError>> + Send;

    /// Idem's own extractors do without an allocation.
    #[doc(hidden)]
    fn extracted<'c>(call: &'c mut Call<'d>) -> Extracted<'c, Self>
    where
        Self: 'c,
    {
        Extracted::later(Self::extract(call))
    }
}

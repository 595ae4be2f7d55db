//! What a handler takes besides the payload.

mod attempt;
mod batch;
mod connection;
mod delivery;
mod error;
mod key;
mod lease;
mod state;

pub use self::batch::BatchExtract;
pub use self::error::ExtractError;
pub use self::state::State;
pub use crate::handler::{BatchCall, Call, Needs};
pub use idem_core::Attempt;
pub use idem_core::Lease;

#[doc = include_str!("../docs/extractors.md")]
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a handler's argument",
    label = "not an extractor",
    note = "a value that you gave to the consumer with `.state(..)` is taken as `State<{Self}>`",
    note = "the payload is the first argument; after it come `State<T>`, `&Delivery`, `Arc<Delivery>`, `Attempt`, `Lease`, `IdempotencyKey`, or a type of yours that implements `Extract`"
)]
pub trait Extract<'d>: Sized {
    /// Says which states [`extract`](Self::extract) looks up, so that a missing one is found at start-up.
    fn needs(needs: &mut Needs) {
        let _ = needs;
    }

    /// Takes the value out of the call.
    ///
    /// # Errors
    /// The value is not there. The message is then treated as if the handler had returned this error.
    fn extract(call: &mut Call<'d>) -> Result<Self, ExtractError>;
}

use super::extracted::Extracted;
use super::{BatchCall, ExtractError, Needs};

/// An argument of a batch handler behind the batch, which concerns the whole call: such as [`State`](super::State) or the
/// connection of its transaction.
///
/// Values of one message, such as its delivery or its attempt, are in the items of a [`Batch`](crate::Batch). For an
/// extractor of your own see [`BatchCall`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an argument of a batch handler",
    label = "not an extractor for a whole batch",
    note = "a value that you gave to the consumer with `.state(..)` is taken as `State<{Self}>`",
    note = "for each message's delivery, attempt, lease and key, take `Batch<T>` in place of `Vec<T>`"
)]
pub trait BatchExtract<'d>: Sized {
    /// Says which states [`extract`](Self::extract) looks up, so that a missing one is found at start-up.
    fn needs(needs: &mut Needs) {
        let _ = needs;
    }

    /// Takes the value out of the call, as [`Extract::extract`](super::Extract::extract) does.
    ///
    /// # Errors
    /// The value is not there. The messages are then treated as if the handler had returned this error for all.
    fn extract(call: &mut BatchCall<'d>) -> impl Future<Output = Result<Self, ExtractError>> + Send;

    /// Idem's own extractors do without an allocation.
    #[doc(hidden)]
    fn extracted<'c>(call: &'c mut BatchCall<'d>) -> Extracted<'c, Self>
    where
        Self: 'c,
    {
        Extracted::later(Self::extract(call))
    }
}

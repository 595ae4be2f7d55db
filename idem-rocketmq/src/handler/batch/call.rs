use std::any::Any;
use std::fmt;

use crate::extract::ExtractError;
use crate::state::States;

/// One call of a batch handler: what extractors for a whole batch take their values from.
///
/// ```
/// use idem_rocketmq::extract::{BatchCall, BatchExtract, ExtractError, Needs};
///
/// #[derive(Clone)]
/// struct Pool;
///
/// struct Reader(Pool);
///
/// impl BatchExtract<'_> for Reader {
///     fn needs(needs: &mut Needs) {
///         needs.state::<Pool>();
///     }
///
///     async fn extract(call: &mut BatchCall<'_>) -> Result<Self, ExtractError> {
///         call.state::<Pool>().cloned().map(Reader)
///     }
/// }
/// ```
pub struct BatchCall<'d> {
    states: &'d States,
    connection: Option<&'d mut (dyn Any + Send)>,
}

impl<'d> BatchCall<'d> {
    pub(super) fn new(states: &'d States, connection: Option<&'d mut (dyn Any + Send)>) -> Self {
        Self { states, connection }
    }

    /// The consumer's state of type `T`. Declare it with [`Needs::state`](crate::extract::Needs::state), so that a missing
    /// one is found at start-up.
    ///
    /// # Errors
    /// The consumer has no such state.
    pub fn state<T: 'static>(&self) -> Result<&'d T, ExtractError> {
        self.states.get().ok_or_else(ExtractError::missing_state::<T>)
    }

    /// The connection of the transaction in which all messages of a [transactional](crate::Route::transactional) handler are
    /// handled. It can be taken once. Declare it with [`Needs::connection`](crate::extract::Needs::connection), so that a store of
    /// another kind is found at start-up.
    ///
    /// # Errors
    /// The handler is not transactional, the store's connections are of another type, or it was taken before.
    pub fn connection<C: Send + 'static>(&mut self) -> Result<&'d mut C, ExtractError> {
        let connection = self.connection.take().and_then(|connection| connection.downcast_mut());
        connection.ok_or_else(ExtractError::no_connection::<C>)
    }
}

impl fmt::Debug for BatchCall<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchCall").field("states", self.states).finish_non_exhaustive()
    }
}

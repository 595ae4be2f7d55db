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
/// struct Connection(Pool);
///
/// impl BatchExtract<'_> for Connection {
///     fn needs(needs: &mut Needs) {
///         needs.state::<Pool>();
///     }
///
///     fn extract(call: &mut BatchCall<'_>) -> Result<Self, ExtractError> {
///         call.state::<Pool>().cloned().map(Connection)
///     }
/// }
/// ```
pub struct BatchCall<'d> {
    states: &'d States,
}

impl<'d> BatchCall<'d> {
    pub(super) fn new(states: &'d States) -> Self {
        Self { states }
    }

    /// The consumer's state of type `T`. Declare it with [`Needs::state`](crate::Needs::state), so that a missing
    /// one is found at start-up.
    ///
    /// # Errors
    /// The consumer has no such state.
    pub fn state<T: 'static>(&self) -> Result<&'d T, ExtractError> {
        self.states.get().ok_or_else(ExtractError::missing_state::<T>)
    }
}

impl fmt::Debug for BatchCall<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchCall").field("states", self.states).finish()
    }
}

//! The order of one token's operations at the store.

use std::sync::Arc;

use crate::lease::Flight;

/// The turn of one operation of a flight's token. It goes to the store with the operation's request and ends with its
/// answer, so that two operations of a token are never under way at once and none overtakes another, whichever lanes
/// they take (`no_operation_of_a_token_overtakes_another`).
#[derive(Debug)]
pub(crate) struct TokenTurn(Arc<Flight>);

impl TokenTurn {
    /// `None` while another operation of the token is under way.
    pub(crate) fn try_of(flight: &Arc<Flight>) -> Option<Self> {
        flight.begin_operation().then(|| Self(flight.clone()))
    }

    /// Waits until no other operation of the token is under way.
    pub(crate) async fn of(flight: &Arc<Flight>) -> Self {
        flight.until(|| Self::try_of(flight)).await
    }
}

impl Drop for TokenTurn {
    fn drop(&mut self) {
        self.0.end_operation();
    }
}

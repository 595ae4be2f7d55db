use std::any::Any;
use std::fmt;
use std::sync::Arc;

use idem_core::engine::OpenTransaction;
use idem_core::{IdempotencyKey, Lease};

use crate::client::Delivery;
use crate::extract::{Attempt, ExtractError};
use crate::state::States;

/// The consumer's part in a run of a handler.
#[derive(Debug, Clone)]
pub(crate) struct CallContext {
    pub(crate) delivery: Arc<Delivery>,
    pub(crate) states: Arc<States>,
    pub(crate) lease: Lease,
    pub(crate) attempt: Attempt,
    pub(crate) transaction: Option<OpenTransaction>,
}

/// One call of a handler: what extractors take their values from.
pub struct Call<'d> {
    context: &'d CallContext,
    key: Option<&'d IdempotencyKey>,
    connection: Option<&'d mut (dyn Any + Send)>,
}

impl<'d> Call<'d> {
    pub(super) fn new(
        context: &'d CallContext,
        key: Option<&'d IdempotencyKey>,
        connection: Option<&'d mut (dyn Any + Send)>,
    ) -> Self {
        Self { context, key, connection }
    }

    /// The message.
    pub fn delivery(&self) -> &'d Delivery {
        &self.context.delivery
    }

    pub(crate) fn shared_delivery(&self) -> Arc<Delivery> {
        Arc::clone(&self.context.delivery)
    }

    /// The message's idempotency key; none where the handler runs without dedup.
    pub fn key(&self) -> Option<&'d IdempotencyKey> {
        self.key
    }

    /// The lease that this run holds on the key.
    pub fn lease(&self) -> &'d Lease {
        &self.context.lease
    }

    /// Which attempt this is.
    pub fn attempt(&self) -> Attempt {
        self.context.attempt
    }

    /// The consumer's state of type `T`. Declare it with [`Needs::state`](super::Needs::state), so that a
    /// missing one is found at start-up.
    ///
    /// # Errors
    /// The consumer has no such state.
    pub fn state<T: 'static>(&self) -> Result<&'d T, ExtractError> {
        self.context.states.get().ok_or_else(ExtractError::missing_state::<T>)
    }

    /// The connection of the transaction in which a [transactional](crate::Route::transactional) handler works. It can be
    /// taken once. Declare it with [`Needs::connection`](super::Needs::connection), so that a store of another kind is
    /// found at start-up.
    ///
    /// # Errors
    /// The handler is not transactional, the store's connections are of another type, or it was taken before.
    pub fn connection<C: Send + 'static>(&mut self) -> Result<&'d mut C, ExtractError> {
        let connection = self.connection.take().and_then(|connection| connection.downcast_mut());
        connection.ok_or_else(ExtractError::no_connection::<C>)
    }
}

impl fmt::Debug for Call<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("delivery", self.delivery())
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

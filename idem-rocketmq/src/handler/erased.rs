//! A handler without its payload's type: what the consumer works with.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use futures_util::future::BoxFuture;
use idem_core::{HandlerResult, IdempotencyKey, KeyError};

use super::{Call, CallContext, Handler, KeySource, Needs};
use crate::codec::{Codec, DecodeError};
use crate::delivery::Delivery;

/// A handler of any payload.
pub(crate) trait ErasedHandler: Send + Sync {
    /// What a call looks up.
    fn needs(&self, needs: &mut Needs);

    /// Decodes the payload and takes the key; runs nothing of the handler.
    fn prepare(&self, delivery: &Arc<Delivery>) -> Result<Prepared, DecodeError>;
}

/// A message that is ready to be claimed and run.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) key: Result<IdempotencyKey, KeyError>,
    /// What the message's order is kept by; none for the order of its whole queue.
    pub(crate) order: Option<IdempotencyKey>,
    pub(crate) run: Run,
}

/// One run of a handler that has not begun.
pub(crate) struct Run(Box<dyn FnOnce(CallContext) -> BoxFuture<'static, HandlerResult> + Send>);

impl Run {
    /// Begins. A panic of the handler is a panic of the future.
    pub(crate) fn call(self, context: CallContext) -> BoxFuture<'static, HandlerResult> {
        (self.0)(context)
    }
}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Run(..)")
    }
}

/// Computes the key of a payload.
pub(super) type KeyOf<P> = dyn Fn(&P) -> Result<IdempotencyKey, KeyError> + Send + Sync;

/// How a handler's key is found.
pub(super) enum KeyBy<P> {
    Payload(Box<KeyOf<P>>),
    Delivery(KeySource),
}

/// A handler with everything that depends on its payload's type.
pub(super) struct Typed<P> {
    pub(super) codec: Box<dyn Codec<P>>,
    pub(super) key: KeyBy<P>,
    pub(super) order_by: Option<Box<KeyOf<P>>>,
    pub(super) handler: Arc<dyn Handler<P>>,
}

impl<P: Send + 'static> ErasedHandler for Typed<P> {
    fn needs(&self, needs: &mut Needs) {
        self.handler.needs(needs);
    }

    fn prepare(&self, delivery: &Arc<Delivery>) -> Result<Prepared, DecodeError> {
        let payload = unless_panic("the codec panicked", || self.codec.decode(delivery.body()))??;
        let key =
            unless_panic("the function that computes the key panicked", || self.key(&payload, delivery))?;
        let order = unless_panic("the function that computes what order is kept by panicked", || {
            self.order_by.as_ref().and_then(|order| order(&payload).ok())
        })?;
        let run = run(Arc::clone(&self.handler), payload, key.clone().ok());
        Ok(Prepared { key, order, run })
    }
}

impl<P> Typed<P> {
    fn key(&self, payload: &P, delivery: &Delivery) -> Result<IdempotencyKey, KeyError> {
        match &self.key {
            KeyBy::Payload(key) => key(payload),
            KeyBy::Delivery(source) => source.key(delivery),
        }
    }
}

fn run<P: Send + 'static>(handler: Arc<dyn Handler<P>>, payload: P, key: Option<IdempotencyKey>) -> Run {
    Run(Box::new(|context| {
        Box::pin(async move { handler.call(payload, Call::new(&context, key.as_ref())).await })
    }))
}

/// A user's code must not take the listener down: its panic is this message's error.
fn unless_panic<T>(what: &str, f: impl FnOnce() -> T) -> Result<T, DecodeError> {
    catch_unwind(AssertUnwindSafe(f)).map_err(|_| DecodeError::new(what))
}

//! A handler without its payload's type: what the consumer works with.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use idem_core::engine::{LentTransaction, OpenTransaction};
use idem_core::panics::{self, CarefulDrop};
use idem_core::{Doubt, Fingerprint, HandlerResult, Happened, IdempotencyKey, KeyError};

use super::batch::{BatchHandler, BatchRun, gather};
use super::doubt::{Answered, ErasedCheck};
use super::{Call, CallContext, Handler, KeySource, Needs};
use crate::client::Delivery;
use crate::codec::{Codec, DecodeError};

/// A handler of any payload.
pub(crate) trait ErasedHandler: Send + Sync {
    /// Notes the states that a call looks up.
    fn needs(&self, needs: &mut Needs);

    /// Decodes the payload and takes the key; runs nothing of the handler. The payload's digest is taken where payloads are
    /// compared.
    fn prepare(&self, delivery: &Arc<Delivery>, compares: bool) -> Result<Prepared, DecodeError>;

    /// Whether the handler has a check of what became of an earlier run.
    fn has_check(&self) -> bool;

    /// Whether one call of the handler is for many messages.
    fn is_batch(&self) -> bool;

    /// One call of a batch handler; none where each message has a call of its own.
    fn gather(&self) -> Option<Gathering>;
}

/// A message that is ready to be claimed and run.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) key: Result<IdempotencyKey, KeyError>,
    /// The value by which the message's order is kept; none for the order of its whole queue.
    pub(crate) order: Option<IdempotencyKey>,
    pub(crate) fingerprint: Option<Fingerprint>,
    pub(crate) run: Run,
}

/// One run of a handler that has not begun.
///
/// It holds the payload, whose `Drop` is the user's.
pub(crate) struct Run(CarefulDrop<Box<dyn Begin>>);

impl Run {
    pub(super) fn new(run: impl Begin) -> Self {
        Self(CarefulDrop::new(Box::new(run)))
    }

    /// Begins. A panic of the handler is a panic of the future.
    pub(crate) fn call(self, context: CallContext) -> BoxFuture<'static, HandlerResult> {
        self.0.into_inner().call(context)
    }

    /// Asks the handler's check about an earlier run. The run itself is given back with the answer, and nothing of it begins.
    pub(crate) fn ask(self, doubt: Doubt, context: CallContext) -> BoxFuture<'static, Answered<Self>> {
        self.0.into_inner().ask(doubt, context)
    }

    /// The parts of the run, if they are a `T`.
    pub(super) fn downcast<T: Begin>(self) -> Result<Box<T>, Self> {
        if (&**self.0 as &dyn Any).is::<T>() {
            let run: Box<dyn Any> = self.0.into_inner();
            return Ok(run.downcast().expect("it was asked before"));
        }
        Err(self)
    }
}

/// Gives runs of one handler a seat in one call. The call begins when this is dropped and each run that has a seat has
/// begun or was dropped.
pub(crate) type Gathering = Box<dyn Fn(Run) -> Run + Send>;

/// The parts of a [`Run`].
pub(super) trait Begin: Any + Send {
    fn call(self: Box<Self>, context: CallContext) -> BoxFuture<'static, HandlerResult>;

    fn ask(self: Box<Self>, doubt: Doubt, context: CallContext) -> BoxFuture<'static, Answered<Run>>;
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
    pub(super) check: Option<Arc<dyn ErasedCheck<P>>>,
    pub(super) work: Work<P>,
}

/// The work to do with payloads.
pub(super) enum Work<P> {
    Each(Arc<dyn Handler<P>>),
    Together(Arc<dyn BatchHandler<P>>),
}

impl<P: Send + 'static> ErasedHandler for Typed<P> {
    fn needs(&self, needs: &mut Needs) {
        match &self.work {
            Work::Each(handler) => handler.needs(needs),
            Work::Together(handler) => handler.needs(needs),
        }
        if let Some(check) = &self.check {
            check.needs(needs);
        }
    }

    fn prepare(&self, delivery: &Arc<Delivery>, compares: bool) -> Result<Prepared, DecodeError> {
        let decoded = unless_panic("the codec panicked", || self.codec.decode(delivery.body()))?;
        let payload = CarefulDrop::new(decoded?);
        let key =
            unless_panic("the function that computes the key panicked", || self.key(&payload, delivery))?;
        let order = unless_panic("the function that computes what order is kept by panicked", || {
            self.order_by.as_ref().and_then(|order| order(&payload).ok())
        })?;
        let fingerprint = unless_panic("the codec panicked over the payload's fingerprint", || {
            compares.then(|| self.codec.fingerprint(delivery.body()))
        })?;
        let message =
            Unbegun { payload: payload.into_inner(), key: key.clone().ok(), check: self.check.clone() };
        let run = self.work.run(message);
        Ok(Prepared { key, order, fingerprint, run })
    }

    fn has_check(&self) -> bool {
        self.check.is_some()
    }

    fn is_batch(&self) -> bool {
        matches!(self.work, Work::Together(_))
    }

    fn gather(&self) -> Option<Gathering> {
        match &self.work {
            Work::Each(_) => None,
            Work::Together(handler) => Some(gather(handler.clone())),
        }
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

impl<P: Send + 'static> Work<P> {
    fn run(&self, message: Unbegun<P>) -> Run {
        match self {
            Self::Each(handler) => Run::new(One { handler: handler.clone(), message }),
            Self::Together(handler) => Run::new(BatchRun { handler: handler.clone(), message }),
        }
    }
}

/// A message whose run has not begun.
pub(super) struct Unbegun<P> {
    pub(super) payload: P,
    pub(super) key: Option<IdempotencyKey>,
    pub(super) check: Option<Arc<dyn ErasedCheck<P>>>,
}

impl<P: Send + 'static> Unbegun<P> {
    /// Asks the check. Without one nobody knows.
    pub(super) async fn ask(self, doubt: Doubt, context: CallContext) -> Answered<Self> {
        let Self { payload, key, check } = self;
        let (payload, answer) = match &check {
            Some(check) => check.ask(payload, key.clone(), doubt, context).await,
            None => (payload, Ok(Happened::Unknown)),
        };
        (Self { payload, key, check }, answer)
    }
}

/// A message that has a call of its own.
struct One<P> {
    handler: Arc<dyn Handler<P>>,
    message: Unbegun<P>,
}

impl<P: Send + 'static> Begin for One<P> {
    fn ask(self: Box<Self>, doubt: Doubt, context: CallContext) -> BoxFuture<'static, Answered<Run>> {
        Box::pin(async move {
            let (message, answer) = self.message.ask(doubt, context).await;
            (Run::new(Self { message, handler: self.handler }), answer)
        })
    }

    fn call(self: Box<Self>, context: CallContext) -> BoxFuture<'static, HandlerResult> {
        let Self { handler, message: Unbegun { payload, key, .. } } = *self;
        Box::pin(async move {
            let mut lent = context.transaction.as_ref().and_then(OpenTransaction::lend);
            let connection = lent.as_mut().map(LentTransaction::connection);
            handler.call(payload, Call::new(&context, key.as_ref(), connection)).await
        })
    }
}

/// A user's code must not take the listener down: its panic is this message's error.
fn unless_panic<T>(what: &str, f: impl FnOnce() -> T) -> Result<T, DecodeError> {
    panics::catch(f).map_err(|_| DecodeError::new(what))
}

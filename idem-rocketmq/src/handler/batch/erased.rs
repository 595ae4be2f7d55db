//! Runs of single messages that share one call of their handler.
//!
//! Each message keeps a run of its own, so that the engine claims, renews, times out and settles it by itself. What
//! the runs wait for is one future, which the last of them drops: then the handler is cancelled.

use std::panic::resume_unwind;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use idem_core::engine::{LentTransaction, OpenTransaction};
use idem_core::panics;
use idem_core::{Doubt, HandlerResult, Lease};
use tokio::sync::{mpsc, oneshot};

use super::failures::ForAll;
use super::{Batch, BatchCall, BatchHandler, BatchItem, BatchResult};
use crate::handler::CallContext;
use crate::handler::doubt::Answered;
use crate::handler::erased::{Begin, Gathering, Run, Unbegun};
use crate::state::States;

/// A message that no call has taken yet.
pub(in crate::handler) struct BatchRun<P> {
    pub(in crate::handler) handler: Arc<dyn BatchHandler<P>>,
    pub(in crate::handler) message: Unbegun<P>,
}

/// A message that has a seat in a call. The call begins when all seats are taken or given up.
struct Seat<P> {
    item: BatchRun<P>,
    taken: mpsc::UnboundedSender<SeatedMessage<P>>,
    call: Shared<BoxFuture<'static, ()>>,
}

/// A message whose run has begun, and where its result goes.
struct SeatedMessage<P> {
    item: BatchItem<P>,
    states: Arc<States>,
    transaction: Option<OpenTransaction>,
    result: ResultSender,
}

/// Where a message's result goes.
struct ResultSender {
    result: oneshot::Sender<HandlerResult>,
    /// Outside of a transaction the effect is there from the moment that the handler returns, and the run hears of it only
    /// when it is polled the next time.
    lease: Option<Lease>,
}

impl ResultSender {
    /// Invariant 8 (`a_message_of_a_batch_that_was_handled_is_completed_before_its_run_hears_of_it`). Nobody listens where a
    /// message was taken out of the call.
    fn tell(self, result: HandlerResult) {
        if let (Ok(()), Some(lease)) = (&result, &self.lease) {
            lease.note_ok();
        }
        let _ = self.result.send(result);
    }
}

/// One call of a handler, for the runs that it is given.
pub(in crate::handler) fn gather<P: Send + 'static>(handler: Arc<dyn BatchHandler<P>>) -> Gathering {
    let (taken, seats) = mpsc::unbounded_channel();
    let call = call(handler, seats).boxed().shared();
    Box::new(move |run| match run.downcast() {
        Ok(item) => Run::new(Seat { item: *item, taken: taken.clone(), call: call.clone() }),
        Err(run) => run,
    })
}

async fn call<P: 'static>(
    handler: Arc<dyn BatchHandler<P>>,
    mut seats: mpsc::UnboundedReceiver<SeatedMessage<P>>,
) {
    let (mut items, mut results, mut shared) = (Vec::new(), Vec::new(), None);
    while let Some(taken) = seats.recv().await {
        items.push(taken.item);
        results.push(taken.result);
        // Messages that are claimed together have one transaction.
        shared = Some((taken.states, taken.transaction));
    }
    let Some((states, transaction)) = shared else { return };
    // Boxed, so that it can be dropped where a panic is caught.
    let work = Box::pin(async {
        let mut lent = transaction.as_ref().and_then(OpenTransaction::lend);
        let connection = lent.as_mut().map(LentTransaction::connection);
        handler.call(Batch::new(items), BatchCall::new(&states, connection)).await
    });
    // A panic is told by dropping the senders: each run panics for its own message.
    if let Ok(result) = panics::guard(work).await {
        tell(result, results);
    }
}

/// Tells each message its result.
fn tell(result: BatchResult, messages: Vec<ResultSender>) {
    let results = result.and_then(|failures| failures.results(messages.len())).unwrap_or_else(|error| {
        let error = Arc::new(error);
        messages.iter().map(|_| Err(ForAll(error.clone()).into())).collect()
    });
    for (message, result) in messages.into_iter().zip(results) {
        message.tell(result);
    }
}

impl<P: Send + 'static> Begin for BatchRun<P> {
    fn ask(self: Box<Self>, doubt: Doubt, context: CallContext) -> BoxFuture<'static, Answered<Run>> {
        Box::pin(async move {
            let (message, answer) = self.message.ask(doubt, context).await;
            (Run::new(Self { message, handler: self.handler }), answer)
        })
    }

    /// A batch of one.
    fn call(self: Box<Self>, context: CallContext) -> BoxFuture<'static, HandlerResult> {
        let alone = gather(self.handler.clone())(Run::new(*self));
        alone.call(context)
    }
}

impl<P: Send + 'static> Begin for Seat<P> {
    /// The call waits for the answer, as it does for every seat.
    fn ask(self: Box<Self>, doubt: Doubt, context: CallContext) -> BoxFuture<'static, Answered<Run>> {
        let Self { item: BatchRun { handler, message }, taken, call } = *self;
        Box::pin(async move {
            let (message, answer) = message.ask(doubt, context).await;
            (Run::new(Self { item: BatchRun { handler, message }, taken, call }), answer)
        })
    }

    fn call(self: Box<Self>, context: CallContext) -> BoxFuture<'static, HandlerResult> {
        let Self { item: BatchRun { message: Unbegun { payload, key, .. }, .. }, taken, call } = *self;
        let (result, mine) = oneshot::channel();
        let (states, transaction) = (context.states.clone(), context.transaction.clone());
        let lease = transaction.is_none().then(|| context.lease.clone());
        let result = ResultSender { result, lease };
        let item = BatchItem::of(payload, key, context);
        let _ = taken.send(SeatedMessage { item, states, transaction, result });
        drop(taken);
        Box::pin(async move {
            call.await;
            mine.await.unwrap_or_else(|_| resume_unwind(Box::new("the batch handler panicked")))
        })
    }
}

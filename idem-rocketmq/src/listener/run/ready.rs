//! A run before its handler begins, and the rest of its work when the handler is over.

use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use idem_core::engine::{Checked, ClaimedRun, Finished, RunProgress, Settled};
use idem_core::{Attempt, HandlerResult, Lease, Verdict};
use tracing::instrument::Instrumented;
use tracing::{Instrument as _, Span};

use super::report::RunReporter;
use crate::client::Delivery;
use crate::handler::{CallContext, Run};
use crate::listener::dispatch::RegisteredHandler;
use crate::state::States;

/// A run that is to start.
pub(in crate::listener) struct ReadyRun {
    pub(in crate::listener) claimed: ClaimedRun,
    pub(in crate::listener) run: Run,
    pub(in crate::listener) handler: Arc<RegisteredHandler>,
    pub(in crate::listener) delivery: Arc<Delivery>,
    pub(in crate::listener) hash: Option<u64>,
    pub(in crate::listener) states: Arc<States>,
    /// Of the batch that it is in.
    pub(in crate::listener) span: Option<Span>,
    pub(in crate::listener) reporter: RunReporter,
}

/// The rest of the work on a run when its handler is over.
pub(super) struct RunFollowUp {
    handler: Arc<RegisteredHandler>,
    delivery: Arc<Delivery>,
    hash: Option<u64>,
    reporter: RunReporter,
}

impl ReadyRun {
    /// Begins the handler here.
    pub(super) fn begin(self) -> (RunProgress, RunFollowUp) {
        if self.claimed.needs_check() {
            let (run, follow_up) = self.checked();
            return (RunProgress::polled(run), follow_up);
        }
        let (claimed, work, follow_up) = self.parts();
        (claimed.begin(work), follow_up)
    }

    /// Begins the handler where this is polled first.
    pub(super) async fn finish(self) {
        if self.claimed.needs_check() {
            let (run, follow_up) = self.checked();
            return follow_up.finish(run).await;
        }
        let (claimed, work, follow_up) = self.parts();
        follow_up.finish(claimed.run(work).boxed()).await;
    }

    /// The handler's check is asked, and the handler begins where nothing has happened yet.
    fn checked(self) -> (BoxFuture<'static, Finished>, RunFollowUp) {
        let Self { claimed, run, handler, delivery, hash, states, span, reporter } = self;
        let follow_up = RunFollowUp { handler: handler.clone(), delivery: delivery.clone(), hash, reporter };
        let attempt = claimed.attempt();
        let span = span.unwrap_or_else(|| handler.span(&delivery, attempt, hash));
        let checking = async move {
            let transaction = claimed.transaction();
            let checked = claimed
                .check(|lease, doubt| {
                    let context = CallContext {
                        delivery: delivery.clone(),
                        states: states.clone(),
                        lease,
                        attempt,
                        transaction: None,
                    };
                    run.ask(doubt, context)
                })
                .await;
            match checked {
                Checked::Over(finished) => finished,
                Checked::Run(claimed, run) => {
                    let work = move |lease, attempt| {
                        run.call(CallContext { delivery, states, lease, attempt, transaction })
                    };
                    claimed.run(work).await
                }
            }
        };
        (checking.instrument(span).boxed(), follow_up)
    }

    fn parts(
        self,
    ) -> (ClaimedRun, impl FnOnce(Lease, Attempt) -> InstrumentedCall + Send + 'static, RunFollowUp) {
        let Self { claimed, run, handler, delivery, hash, states, span, reporter } = self;
        let transaction = claimed.transaction();
        let follow_up = RunFollowUp { handler: handler.clone(), delivery: delivery.clone(), hash, reporter };
        let work = move |lease, attempt| {
            let span = span.unwrap_or_else(|| handler.span(&delivery, attempt, hash));
            run.call(CallContext { delivery, states, lease, attempt, transaction }).instrument(span)
        };
        (claimed, work, follow_up)
    }
}

/// A handler's call.
type InstrumentedCall = Instrumented<BoxFuture<'static, HandlerResult>>;

impl RunFollowUp {
    pub(super) async fn finish(self, run: BoxFuture<'static, Finished>) {
        let finished = run.await;
        if let Some((finished, follow_up)) = self.over(finished) {
            let settled = follow_up.handler.gate.settle_one(finished).await;
            follow_up.settled(settled);
        }
    }

    /// The handler is over. Returns `None` if its transaction was undone and it is to be run again.
    pub(super) fn over(self, finished: Finished) -> Option<(Finished, Self)> {
        if let Some(took) = finished.took() {
            self.handler.meter.ran(took);
        }
        self.handler.pace.run_ended();
        match finished.again() {
            Ok(admission) => {
                self.reporter.undone(admission);
                None
            }
            Err(finished) => Some((finished, self)),
        }
    }

    pub(super) fn settled(self, settled: Settled) {
        let Self { handler, delivery, hash, reporter, .. } = self;
        if settled.decision.verdict == Verdict::Ack {
            handler.meter.outcome(&delivery, &settled.decision, hash);
            reporter.acked(&settled.decision);
        } else {
            reporter.settled(settled);
        }
    }
}

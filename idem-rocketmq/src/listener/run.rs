//! The runs of a listener call: each on the call's thread at first, then in a task of the user's runtime.
//!
//! Those that are over at once are settled together, so that a call of quick handlers costs the store two round trips.

use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, join_all};
use idem_core::engine::{Admission, ClaimedRun, Finished, RunProgress, Settled, Unfit};
use idem_core::panics::{self, Fault};
use idem_core::{Attempt, Decision, HandlerResult, Lease, Verdict};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::instrument::Instrumented;
use tracing::{Instrument as _, Span};

use super::dispatch::Handler;
use super::over::Over;
use super::seats::Asks;
use super::{Bridge, Decisions, crowd};
use crate::client::Delivery;
use crate::handler::{CallContext, Run};
use crate::state::States;

/// What the tasks of a call report.
pub(super) enum Report {
    Settled(usize, Settled),
    /// The transaction that it shared was undone, and it is to be run again alone.
    Again(usize, Admission),
    /// The task was dropped: the handlers' runtime is going away.
    Dropped(usize),
    /// The task has panicked, which is no fault of the handler's.
    Panicked(usize),
    /// It is done, where the call has to know of each.
    Acked(usize),
    /// The last message was closed.
    Closed,
}

/// What a call shares with its tasks.
///
/// A task that comes to an ack closes its message by itself, so that the call's thread is woken once and not for
/// each message.
pub(super) struct Shared {
    open: AtomicUsize,
    reports: mpsc::UnboundedSender<Report>,
    decisions: Option<Arc<Decisions>>,
}

impl Shared {
    pub(super) fn new(
        messages: usize,
        reports: mpsc::UnboundedSender<Report>,
        decisions: Option<Arc<Decisions>>,
    ) -> Self {
        Self { open: AtomicUsize::new(messages), reports, decisions }
    }

    /// A message is held, because too many of its handler's messages cannot be handled.
    pub(super) fn held(&self, place: usize, what: Unfit, behind: impl Iterator<Item = usize>) {
        if let Some(decisions) = &self.decisions {
            decisions.held(place, what, behind);
        }
    }

    /// A message is decided.
    pub(super) fn decided(&self, place: usize, decision: &Decision) {
        if let Some(decisions) = &self.decisions {
            decisions.decided(place, decision);
        }
    }

    /// How many messages are open.
    pub(super) fn open(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }

    /// One message less is open. Whether it was the last.
    pub(super) fn close(&self) -> bool {
        self.open.fetch_sub(1, Ordering::AcqRel) == 1
    }
}

/// Starts runs of one handler. What is left, if anything, of those whose handlers are over and for which only the store is
/// waited: they report by themselves.
///
/// They begin on this thread, with the user's runtime entered, and go on in tasks of that runtime where their handlers
/// wait for something. Most quick handlers are done by then, and waking another thread costs more than they do. A
/// handler that keeps the thread for long is not begun here for a while, so that it holds up no neighbour.
pub(super) fn start(bridge: &Bridge, runs: Vec<Start>, asks: &Asks) -> Option<BoxFuture<'static, ()>> {
    let handler = runs.first()?.handler.clone();
    let mut begun = Begin::new(bridge, &handler, runs.len(), asks.is_aside());
    match handler.route.handler().gather() {
        None => {
            for run in runs {
                let is_here = begun.begins_here();
                begun.begin(run, is_here);
            }
        }
        Some(seat) => {
            let span = handler.batch_span(runs[0].delivery.group(), runs.len());
            handler.meter.batch(runs.len());
            // All or none of them here: the time of those that have begun runs, and their call waits for every one.
            let is_here = begun.begins_here();
            for run in runs {
                begun.begin(Start { run: seat(run.run), span: Some(span.clone()), ..run }, is_here);
            }
            // The call begins when every run has its seat.
            drop(seat);
            begun.again();
        }
    }
    begun.end()
}

/// The beginning of runs of one handler.
struct Begin<'a> {
    bridge: &'a Bridge,
    handler: &'a Handler,
    /// The call has given its thread back: no handler begins on the one that it is on now.
    is_aside: bool,
    /// When the first one began, and when the last one waited or was over.
    first: Instant,
    last: Instant,
    /// Those that wait.
    going: Vec<(BoxFuture<'static, Finished>, Rest)>,
    /// Those that were not begun here.
    later: Vec<BoxFuture<'static, ()>>,
    /// Those whose handlers are over.
    over: Arc<Over>,
}

impl<'a> Begin<'a> {
    fn new(bridge: &'a Bridge, handler: &'a Handler, runs: usize, is_aside: bool) -> Self {
        let (now, over) = (Instant::now(), handler.unsettled.of_call(runs));
        Self { bridge, handler, is_aside, first: now, last: now, going: Vec::new(), later: Vec::new(), over }
    }

    /// Whether the next run begins on this thread.
    fn begins_here(&self) -> bool {
        let is_user_gone = self.bridge.user_is_gone.is_cancelled();
        !self.is_aside
            && !is_user_gone
            && !self.handler.pace.blocks()
            && self.last.saturating_duration_since(self.first) <= crowd::BLOCKING
    }

    fn begin(&mut self, run: Start, is_here: bool) {
        if !is_here {
            self.later.push(run.finish().boxed());
            return;
        }
        let (begun, rest) = {
            let _entered = self.bridge.user.enter();
            run.begin()
        };
        self.begun(begun, rest);
    }

    /// Polls those that wait once more.
    fn again(&mut self) {
        for (run, rest) in mem::take(&mut self.going) {
            let begun = {
                let _entered = self.bridge.user.enter();
                RunProgress::polled(run)
            };
            self.begun(begun, rest);
        }
    }

    fn begun(&mut self, begun: RunProgress, rest: Rest) {
        let now = Instant::now();
        self.handler.pace.polled(now.saturating_duration_since(self.last));
        self.last = now;
        match begun {
            RunProgress::Going(run) => self.going.push((run, rest)),
            RunProgress::Over(finished) => self.over.add(rest.over(finished)),
        }
    }

    /// What waits for its handler goes on in tasks of the user's runtime; the runs of a batch, which have one call, in one.
    fn end(self) -> Option<BoxFuture<'static, ()>> {
        let (over, gate) = (self.over, self.handler.gate.clone());
        let mut settling = async move { over.settle(&gate).await }.boxed();
        let settling = (&mut settling).now_or_never().is_none().then_some(settling);
        let going = self.going.into_iter().map(|(run, rest)| rest.finish(run).boxed());
        let mut later: Vec<_> = self.later.into_iter().chain(going).collect();
        if later.is_empty() {
            return settling;
        }
        if self.handler.route.batch().is_some() {
            later = vec![join_all(later).map(drop).boxed()];
        }
        let on_user = |run| OnUser {
            run,
            gone: Some(self.bridge.user_is_gone.clone()),
            fault: self.bridge.engine.fault().clone(),
        };
        let later: Vec<_> = later.into_iter().map(on_user).collect();
        // The tasks are made there, and not from this thread one by one: between two of them a worker would be woken
        // up, finish a quick handler and fall asleep again.
        self.bridge.user.spawn(async move {
            for run in later {
                tokio::spawn(run);
            }
        });
        settling
    }
}

/// A run in a task of the user's runtime. Where it is dropped, that runtime is going away: this is known before the run
/// gives back its permit, so that no other begins with it.
struct OnUser {
    run: BoxFuture<'static, ()>,
    gone: Option<CancellationToken>,
    fault: Arc<Fault>,
}

impl Future for OnUser {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let done = panics::catch(|| self.run.poll_unpin(context)).unwrap_or_else(|_| {
            // The handler's own panics are caught around it.
            panics::report("run", "what follows a run has panicked; its message is left to the broker");
            self.fault.fail("the task of a run");
            Poll::Ready(())
        });
        if done.is_ready() {
            self.gone = None;
        }
        done
    }
}

impl Drop for OnUser {
    fn drop(&mut self) {
        if let Some(gone) = &self.gone {
            gone.cancel();
        }
    }
}

/// A run that is to start.
pub(super) struct Start {
    pub(super) claimed: ClaimedRun,
    pub(super) run: Run,
    pub(super) handler: Arc<Handler>,
    pub(super) delivery: Arc<Delivery>,
    pub(super) hash: Option<u64>,
    pub(super) states: Arc<States>,
    /// Of the batch that it is in.
    pub(super) span: Option<Span>,
    pub(super) reporter: Reporter,
}

/// What follows when a run's handler is over.
pub(super) struct Rest {
    handler: Arc<Handler>,
    delivery: Arc<Delivery>,
    hash: Option<u64>,
    reporter: Reporter,
}

impl Start {
    /// Begins the handler here.
    fn begin(self) -> (RunProgress, Rest) {
        let (claimed, work, rest) = self.parts();
        (claimed.begin(work), rest)
    }

    /// Begins the handler where this is polled first.
    async fn finish(self) {
        let (claimed, work, rest) = self.parts();
        rest.finish(claimed.run(work).boxed()).await;
    }

    fn parts(self) -> (ClaimedRun, impl FnOnce(Lease, Attempt) -> Running + Send + 'static, Rest) {
        let Self { claimed, run, handler, delivery, hash, states, span, reporter } = self;
        let transaction = claimed.transaction();
        let rest = Rest { handler: handler.clone(), delivery: delivery.clone(), hash, reporter };
        let work = move |lease, attempt| {
            let span = span.unwrap_or_else(|| handler.span(&delivery, attempt, hash));
            run.call(CallContext { delivery, states, lease, attempt, transaction }).instrument(span)
        };
        (claimed, work, rest)
    }
}

/// A handler's call.
type Running = Instrumented<BoxFuture<'static, HandlerResult>>;

impl Rest {
    async fn finish(self, run: BoxFuture<'static, Finished>) {
        let finished = run.await;
        if let Some((finished, rest)) = self.over(finished) {
            let settled = rest.handler.gate.settle_one(finished).await;
            rest.settled(settled);
        }
    }

    /// The handler is over. None where its transaction was undone and it is to be run again.
    fn over(self, finished: Finished) -> Option<(Finished, Self)> {
        if let Some(took) = finished.took() {
            self.handler.meter.ran(took);
        }
        self.handler.pace.run_ended();
        match finished.again() {
            Ok(admission) => {
                self.reporter.again(admission);
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

/// Reports for one task, also when the task is dropped.
pub(super) struct Reporter {
    place: usize,
    shared: Option<Arc<Shared>>,
    tells_all: bool,
}

impl Reporter {
    /// Where it `tells_all`, the call closes each message by itself.
    pub(super) fn new(place: usize, shared: Arc<Shared>, tells_all: bool) -> Self {
        Self { place, shared: Some(shared), tells_all }
    }

    /// The message is done, and there is nothing to tell the broker.
    fn acked(mut self, decision: &Decision) {
        let Some(shared) = self.shared.take() else { return };
        shared.decided(self.place, decision);
        if self.tells_all {
            let _ = shared.reports.send(Report::Acked(self.place));
        } else if shared.close() {
            let _ = shared.reports.send(Report::Closed);
        }
    }

    fn again(mut self, admission: Admission) {
        if let Some(shared) = self.shared.take() {
            let _ = shared.reports.send(Report::Again(self.place, admission));
        }
    }

    fn settled(mut self, settled: Settled) {
        if let Some(shared) = self.shared.take() {
            let _ = shared.reports.send(Report::Settled(self.place, settled));
        }
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.take() {
            let report = if std::thread::panicking() { Report::Panicked } else { Report::Dropped };
            let _ = shared.reports.send(report(self.place));
        }
    }
}

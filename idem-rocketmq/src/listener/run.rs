//! The runs of a listener call: each on the call's thread at first, then in a task of the user's runtime.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, join_all};
use idem_core::Verdict;
use idem_core::engine::{Admission, Claimed, Settled};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::dispatch::Handler;
use super::{Bridge, crowd};
use crate::delivery::Delivery;
use crate::handler::{CallContext, Run};
use crate::state::States;

/// What the tasks of a call report.
pub(super) enum Report {
    Settled(usize, Settled),
    /// The transaction that it shared was undone, and it is to be run again alone.
    Again(usize, Admission),
    /// The task was dropped: the handlers' runtime is going away.
    Dropped(usize),
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
}

impl Shared {
    pub(super) fn new(messages: usize, reports: mpsc::UnboundedSender<Report>) -> Self {
        Self { open: AtomicUsize::new(messages), reports }
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

/// Starts runs of one handler.
///
/// They begin on this thread, with the user's runtime entered, and go on in tasks of that runtime where they wait
/// for something. Most quick handlers are done by then, and waking another thread costs more than they do. A
/// handler that keeps the thread for long is not begun here for a while, so that it holds up no neighbour.
pub(super) fn start(bridge: &Bridge, runs: Vec<Start>) {
    let user = &bridge.user;
    let _entered = user.enter();
    let mut later: Vec<OnUser> = Vec::new();
    let later_on = |run| OnUser { run, gone: Some(bridge.user_is_gone.clone()) };
    let begun = Instant::now();
    let mut last = begun;
    for (handler, mut run) in futures(runs) {
        let is_user_gone = bridge.user_is_gone.is_cancelled();
        if is_user_gone || handler.pace.blocks() || last - begun > crowd::BLOCKING {
            later.push(later_on(run));
            continue;
        }
        if (&mut run).now_or_never().is_none() {
            later.push(later_on(run));
        }
        let now = Instant::now();
        handler.pace.polled(now - last);
        last = now;
    }
    if later.is_empty() {
        return;
    }
    // The tasks are made there, and not from this thread one by one: between two of them a worker would be woken
    // up, finish a quick handler and fall asleep again.
    user.spawn(async move {
        for run in later {
            tokio::spawn(run);
        }
    });
}

/// What is to be polled for runs of one handler: each by itself, or a batch's all together, which have one call.
fn futures(runs: Vec<Start>) -> Vec<(Arc<Handler>, BoxFuture<'static, ()>)> {
    let Some(handler) = runs.first().map(|first| first.handler.clone()) else { return Vec::new() };
    match handler.route.handler().gather() {
        None => runs.into_iter().map(|run| (handler.clone(), run.finish().boxed())).collect(),
        Some(seat) => {
            let span = handler.batch_span(runs[0].delivery.group(), runs.len());
            handler.meter.batch(runs.len());
            let seated = runs.into_iter().map(|start| Start { run: seat(start.run), ..start });
            let all = join_all(seated.map(Start::finish)).map(drop).instrument(span).boxed();
            drop(seat);
            vec![(handler, all)]
        }
    }
}

/// A run in a task of the user's runtime. Where it is dropped, that runtime is going away: this is known before the run
/// gives back its permit, so that no other begins with it.
struct OnUser {
    run: BoxFuture<'static, ()>,
    gone: Option<CancellationToken>,
}

impl Future for OnUser {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let done = self.run.poll_unpin(context);
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
    pub(super) claimed: Claimed,
    pub(super) run: Run,
    pub(super) handler: Arc<Handler>,
    pub(super) delivery: Arc<Delivery>,
    pub(super) hash: Option<u64>,
    pub(super) states: Arc<States>,
    pub(super) reporter: Reporter,
}

impl Start {
    /// Runs the handler, and settles as soon as it is done: no neighbour holds a completion back.
    async fn finish(self) {
        let Self { claimed, run, handler, delivery, hash, states, reporter } = self;
        let begun = Instant::now();
        let transaction = claimed.transaction();
        let work = |lease, attempt| {
            let span = handler.span(&delivery, attempt, hash);
            let delivery = delivery.clone();
            run.call(CallContext { delivery, states, lease, attempt, transaction }).instrument(span)
        };
        let finished = claimed.run(work).await;
        handler.meter.ran(begun.elapsed());
        handler.pace.run_ended();
        let finished = match finished.again() {
            Ok(admission) => return reporter.again(admission),
            Err(finished) => finished,
        };
        let settled = handler.gate.settle_one(finished).await;
        if settled.decision.verdict == Verdict::Ack {
            handler.meter.outcome(&delivery, &settled.decision, hash);
            reporter.acked();
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
    fn acked(mut self) {
        let Some(shared) = self.shared.take() else { return };
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
            let _ = shared.reports.send(Report::Dropped(self.place));
        }
    }
}

//! The runs of a listener call: each on the call's thread at first, then in a task of the user's runtime.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, join_all};
use idem_core::Verdict;
use idem_core::engine::{Claimed, Finished, Settled};
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
///
/// What is done by then is settled together by the future that this gives; the others settle by themselves.
pub(super) fn start(bridge: &Bridge, runs: Vec<Start>) -> Option<BoxFuture<'static, ()>> {
    let handler = runs.first()?.handler.clone();
    let _entered = bridge.user.enter();
    let mut beginning = Beginning::new(bridge, &handler);
    let done = match handler.route.handler().gather() {
        None => {
            let settle = |ran: Ran| ran.settle().boxed();
            let begun = runs.into_iter().filter_map(|start| beginning.begin(start.run().boxed(), settle));
            begun.collect()
        }
        Some(seat) => {
            let span = handler.batch_span(runs[0].delivery.group(), runs.len());
            handler.meter.batch(runs.len());
            let seated = runs.into_iter().map(|start| Start { run: seat(start.run), ..start });
            let all = join_all(seated.map(Start::run)).instrument(span).boxed();
            drop(seat);
            beginning.begin(all, |ran| settle(ran).boxed()).unwrap_or_default()
        }
    };
    beginning.go_on();
    (!done.is_empty()).then(|| settle(done).boxed())
}

/// Runs that begin one after the other.
struct Beginning<'a> {
    bridge: &'a Bridge,
    handler: &'a Handler,
    begun: Instant,
    last: Instant,
    later: Vec<OnUser>,
}

impl<'a> Beginning<'a> {
    fn new(bridge: &'a Bridge, handler: &'a Handler) -> Self {
        let now = Instant::now();
        Self { bridge, handler, begun: now, last: now, later: Vec::new() }
    }

    /// What the run comes to where it is done at once; else it goes on later, and `settle` ends it.
    fn begin<T: Send + 'static>(
        &mut self,
        mut run: BoxFuture<'static, T>,
        settle: fn(T) -> BoxFuture<'static, ()>,
    ) -> Option<T> {
        let pace = &self.handler.pace;
        let is_late = self.last - self.begun > crowd::BLOCKING;
        if !(self.bridge.user_is_gone.is_cancelled() || pace.blocks() || is_late) {
            let done = (&mut run).now_or_never();
            let now = Instant::now();
            pace.polled(now - self.last);
            self.last = now;
            if done.is_some() {
                return done;
            }
        }
        let gone = Some(self.bridge.user_is_gone.clone());
        self.later.push(OnUser { run: run.then(settle).boxed(), gone });
        None
    }

    /// The tasks are made there, and not from this thread one by one: between two of them a worker would be woken
    /// up, finish a quick handler and fall asleep again.
    fn go_on(self) {
        if self.later.is_empty() {
            return;
        }
        self.bridge.user.spawn(async move {
            for run in self.later {
                tokio::spawn(run);
            }
        });
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
    async fn run(self) -> Ran {
        let Self { claimed, run, handler, delivery, hash, states, reporter } = self;
        let begun = Instant::now();
        let work = |lease, attempt| {
            let span = handler.span(&delivery, attempt, hash);
            run.call(CallContext { delivery: delivery.clone(), states, lease, attempt }).instrument(span)
        };
        let finished = claimed.run(work).await;
        handler.meter.ran(begun.elapsed());
        handler.pace.run_ended();
        Ran { finished, message: Ended { handler, delivery, hash, reporter } }
    }
}

/// A run that is over.
struct Ran {
    finished: Finished,
    message: Ended,
}

/// The message of a run that is over.
struct Ended {
    handler: Arc<Handler>,
    delivery: Arc<Delivery>,
    hash: Option<u64>,
    reporter: Reporter,
}

impl Ran {
    /// As soon as the run is over: no neighbour holds a completion back.
    async fn settle(self) {
        let settled = self.message.handler.gate.settle_one(self.finished).await;
        self.message.settled(settled);
    }
}

/// Settles runs of one handler that ended together.
async fn settle(ran: Vec<Ran>) {
    let (finished, messages): (Vec<_>, Vec<_>) =
        ran.into_iter().map(|ran| (ran.finished, ran.message)).unzip();
    let Some(handler) = messages.first().map(|message| message.handler.clone()) else { return };
    for (message, settled) in messages.into_iter().zip(handler.gate.settle(finished).await) {
        message.settled(settled);
    }
}

impl Ended {
    fn settled(self, settled: Settled) {
        if settled.decision.verdict == Verdict::Ack {
            self.handler.meter.outcome(&self.delivery, &settled.decision, self.hash);
            self.reporter.acked();
        } else {
            self.reporter.settled(settled);
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

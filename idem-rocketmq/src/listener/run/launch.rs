//! The start of the runs of one handler, on the thread of their call.

use std::mem;
use std::sync::Arc;
use std::time::Instant;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, join_all};
use idem_core::engine::{Finished, RunProgress};

use super::ended::EndedRuns;
use super::pace::BLOCKING;
use super::ready::{ReadyRun, RunFollowUp};
use super::task::UserTask;
use crate::listener::Bridge;
use crate::listener::dispatch::RegisteredHandler;
use crate::listener::wait::CallSignals;

/// Starts runs of one handler. Returns the rest of the work on those whose handlers are over, if the store has to be waited
/// for; they report by themselves.
///
/// They begin on this thread, with the user's runtime entered, and go on in tasks of that runtime where their handlers
/// wait for something. Most quick handlers are done by then, and waking another thread costs more than they do. A
/// handler that keeps the thread for long is not begun here for a while, so that it holds up no neighbour.
pub(in crate::listener) fn start(
    bridge: &Bridge,
    runs: Vec<ReadyRun>,
    signals: &CallSignals,
) -> Option<BoxFuture<'static, ()>> {
    let handler = runs.first()?.handler.clone();
    let mut launch = RunLaunch::new(bridge, &handler, runs.len(), signals.is_aside());
    match handler.route.handler().gather() {
        None => {
            for run in runs {
                let is_here = launch.begins_here();
                launch.begin(run, is_here);
            }
        }
        Some(seat) => {
            let span = handler.batch_span(runs[0].delivery.group(), runs.len());
            handler.meter.batch(runs.len());
            // All or none of them here: the time of those that have begun runs, and their call waits for every one.
            let is_here = launch.begins_here();
            for run in runs {
                launch.begin(ReadyRun { run: seat(run.run), span: Some(span.clone()), ..run }, is_here);
            }
            // The call begins when every run has its seat.
            drop(seat);
            launch.again();
        }
    }
    launch.end()
}

/// Runs of one handler, while they begin.
struct RunLaunch<'a> {
    bridge: &'a Bridge,
    handler: &'a RegisteredHandler,
    /// The call has given its thread back: no handler begins on the one that it is on now.
    is_aside: bool,
    /// When the first one began, and when the last one waited or was over.
    first: Instant,
    last: Instant,
    /// Those that wait.
    going: Vec<(BoxFuture<'static, Finished>, RunFollowUp)>,
    /// Those that were not begun here.
    later: Vec<BoxFuture<'static, ()>>,
    /// Those whose handlers are over.
    over: Arc<EndedRuns>,
}

impl<'a> RunLaunch<'a> {
    fn new(bridge: &'a Bridge, handler: &'a RegisteredHandler, runs: usize, is_aside: bool) -> Self {
        let (now, over) = (Instant::now(), EndedRuns::of_call(runs, &handler.unsettled));
        Self { bridge, handler, is_aside, first: now, last: now, going: Vec::new(), later: Vec::new(), over }
    }

    /// Whether the next run begins on this thread.
    fn begins_here(&self) -> bool {
        let is_user_gone = self.bridge.user_is_gone.is_cancelled();
        !self.is_aside
            && !is_user_gone
            && !self.handler.pace.blocks()
            && self.last.saturating_duration_since(self.first) <= BLOCKING
    }

    fn begin(&mut self, run: ReadyRun, is_here: bool) {
        if !is_here {
            self.later.push(run.finish().boxed());
            return;
        }
        let (begun, follow_up) = {
            let _entered = self.bridge.user.enter();
            run.begin()
        };
        self.begun(begun, follow_up);
    }

    /// Polls those that wait once more.
    fn again(&mut self) {
        for (run, follow_up) in mem::take(&mut self.going) {
            let begun = {
                let _entered = self.bridge.user.enter();
                RunProgress::polled(run)
            };
            self.begun(begun, follow_up);
        }
    }

    fn begun(&mut self, begun: RunProgress, follow_up: RunFollowUp) {
        let now = Instant::now();
        self.handler.pace.polled(now.saturating_duration_since(self.last));
        self.last = now;
        match begun {
            RunProgress::Going(run) => self.going.push((run, follow_up)),
            RunProgress::Over(finished) => self.over.add(follow_up.over(finished)),
        }
    }

    /// Runs whose handlers wait go on in tasks of the user's runtime; the runs of a batch, which have one call, in one.
    fn end(self) -> Option<BoxFuture<'static, ()>> {
        let (over, gate) = (self.over, self.handler.gate.clone());
        let mut settling = async move { over.settle(&gate).await }.boxed();
        let settling = (&mut settling).now_or_never().is_none().then_some(settling);
        let going = self.going.into_iter().map(|(run, follow_up)| follow_up.finish(run).boxed());
        let mut later: Vec<_> = self.later.into_iter().chain(going).collect();
        if later.is_empty() {
            return settling;
        }
        if self.handler.route.batch().is_some() {
            later = vec![join_all(later).map(drop).boxed()];
        }
        let later: Vec<_> = later.into_iter().map(|run| UserTask::new(run, self.bridge)).collect();
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

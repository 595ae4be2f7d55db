//! How the runs of a call tell it that they are over.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use idem_core::Decision;
use idem_core::engine::{Admission, Settled, Unfit};
use tokio::sync::mpsc;

use crate::listener::settle::Decisions;

/// A word from a task to its call.
pub(in crate::listener) enum RunReport {
    /// The run of the message at this place is over.
    Ended(usize, RunEnd),
    /// The last message was closed.
    Closed,
}

/// How a run ended, for the call that it is of.
pub(in crate::listener) enum RunEnd {
    Settled(Settled),
    /// The transaction that it progress was undone, and it is to be run again alone.
    Undone(Admission),
    /// The task was dropped: the handlers' runtime is going away.
    Dropped,
    /// The task has panicked, which is no fault of the handler's.
    Panicked,
    /// The message is done; reported only to a call that has to know of each.
    Acked,
}

/// The state of a call that it shares with its tasks.
///
/// A task that comes to an ack closes its message by itself, so that the call's thread is woken once and not for
/// each message.
pub(in crate::listener) struct CallProgress {
    open: AtomicUsize,
    reports: mpsc::UnboundedSender<RunReport>,
    decisions: Option<Arc<Decisions>>,
}

impl CallProgress {
    pub(in crate::listener) fn new(
        messages: usize,
        reports: mpsc::UnboundedSender<RunReport>,
        decisions: Option<Arc<Decisions>>,
    ) -> Self {
        Self { open: AtomicUsize::new(messages), reports, decisions }
    }

    /// A message is held, because too many of its handler's messages cannot be handled.
    pub(in crate::listener) fn held(&self, place: usize, what: Unfit, behind: impl Iterator<Item = usize>) {
        if let Some(decisions) = &self.decisions {
            decisions.held(place, what, behind);
        }
    }

    /// A message is decided.
    pub(in crate::listener) fn decided(&self, place: usize, decision: &Decision) {
        if let Some(decisions) = &self.decisions {
            decisions.decided(place, decision);
        }
    }

    /// How many messages are open.
    pub(in crate::listener) fn open(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }

    /// One message less is open. Whether it was the last.
    pub(in crate::listener) fn close(&self) -> bool {
        self.open.fetch_sub(1, Ordering::AcqRel) == 1
    }
}

/// Reports for one task, also when the task is dropped.
pub(in crate::listener) struct RunReporter {
    place: usize,
    progress: Option<Arc<CallProgress>>,
    tells_all: bool,
}

impl RunReporter {
    /// Where it `tells_all`, the call closes each message by itself.
    pub(in crate::listener) fn new(place: usize, progress: Arc<CallProgress>, tells_all: bool) -> Self {
        Self { place, progress: Some(progress), tells_all }
    }

    /// The message is done, and there is nothing to tell the broker.
    pub(super) fn acked(mut self, decision: &Decision) {
        let Some(progress) = self.progress.take() else { return };
        progress.decided(self.place, decision);
        if self.tells_all {
            let _ = progress.reports.send(RunReport::Ended(self.place, RunEnd::Acked));
        } else if progress.close() {
            let _ = progress.reports.send(RunReport::Closed);
        }
    }

    pub(super) fn undone(mut self, admission: Admission) {
        if let Some(progress) = self.progress.take() {
            let _ = progress.reports.send(RunReport::Ended(self.place, RunEnd::Undone(admission)));
        }
    }

    pub(super) fn settled(mut self, settled: Settled) {
        if let Some(progress) = self.progress.take() {
            let _ = progress.reports.send(RunReport::Ended(self.place, RunEnd::Settled(settled)));
        }
    }
}

impl Drop for RunReporter {
    fn drop(&mut self) {
        if let Some(progress) = self.progress.take() {
            let end = if std::thread::panicking() { RunEnd::Panicked } else { RunEnd::Dropped };
            let _ = progress.reports.send(RunReport::Ended(self.place, end));
        }
    }
}

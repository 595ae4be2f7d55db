//! One listener call: its messages are spread over the handlers, and each is settled by itself.

mod claim;
mod enter;
mod message;
mod recall;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use idem_core::Verdict;
use idem_core::clock::Later as _;
use idem_core::engine::{Admission, Settled, verdict};
use idem_core::panics;
use tokio::sync::mpsc;

use self::claim::CallEvent;
use self::message::{CallMessage, EnteredMessage, MessageState};
use self::recall::EarlierEnd;
pub(super) use self::recall::SuspendedQueues;
use super::Bridge;
use super::dispatch::GateEntry;
use super::run::{self, CallProgress, ReadyRun, RunEnd, RunReport, RunReporter};
use super::settle::{self, Decisions};
use super::wait::CallSignals;
use crate::client::{ConsumeStatus, Mode, Queue, Received};

/// For how long a queue is suspended whose thread others need.
const SUSPENDED: Duration = Duration::from_secs(1);

/// A call under way.
struct ListenerCall<'a> {
    bridge: &'a Bridge,
    sources: &'a [Received<'a>],
    messages: Vec<CallMessage>,
    events: FuturesUnordered<BoxFuture<'a, CallEvent>>,
    /// Runs whose handlers are over. They report by themselves.
    settling: FuturesUnordered<BoxFuture<'static, ()>>,
    progress: Arc<CallProgress>,
    /// Messages whose turn has come, because those before them are settled.
    next: Vec<usize>,
    /// How many messages wait for the end of a delay, with those that follow them.
    parked: usize,
    is_left: bool,
    signals: &'a CallSignals,
    /// The client has lost the queue.
    is_lost: bool,
    /// The queue is suspended, so that its thread is free.
    is_suspended: bool,
}

impl Bridge {
    /// Settles the messages of one listener call, and notes each one's decision.
    ///
    /// The user's code is guarded where it is called, so that a panic here is one of idem's own: nobody knows what became of the
    /// messages, and the broker has them still.
    pub(super) async fn call(
        &self,
        sources: &[Received<'_>],
        queue: &Queue,
        signals: &CallSignals,
        decisions: Option<&Arc<Decisions>>,
    ) -> ConsumeStatus {
        let settled = self.settle_call(sources, queue, signals, decisions);
        let fail = || self.engine.fault().fail("a listener call");
        panics::loud("listener", settled, fail).await.unwrap_or(ConsumeStatus::Leave)
    }

    async fn settle_call(
        &self,
        sources: &[Received<'_>],
        queue: &Queue,
        signals: &CallSignals,
        decisions: Option<&Arc<Decisions>>,
    ) -> ConsumeStatus {
        let (sender, mut reports) = mpsc::unbounded_channel();
        let mut call = ListenerCall {
            bridge: self,
            sources,
            messages: Vec::with_capacity(sources.len()),
            events: FuturesUnordered::new(),
            settling: FuturesUnordered::new(),
            progress: Arc::new(CallProgress::new(sources.len(), sender, decisions.cloned())),
            next: Vec::new(),
            parked: 0,
            is_left: false,
            signals,
            is_lost: false,
            is_suspended: false,
        };
        let is_orderly = call.mode() == Mode::Orderly;
        call.enter(queue);
        while call.goes_on() {
            tokio::select! {
                biased;
                Some(report) = reports.recv() => call.reported(report),
                Some(event) = call.events.next(), if !call.events.is_empty() => call.happened(event),
                Some(()) = call.settling.next(), if !call.settling.is_empty() => {}
                () = signals.lost.notified(), if !call.is_lost => call.lose(),
                () = signals.aside.notified(), if is_orderly => call.suspend(),
            }
            call.admit_next();
        }
        call.status(queue)
    }
}

impl ListenerCall<'_> {
    fn mode(&self) -> Mode {
        self.bridge.dispatch.mode
    }

    /// An orderly call ends when all that is left of it waits for a delay: the queue is suspended, so that another member
    /// may take it over. In broadcasting there is no other member, and what is not settled would be lost.
    fn goes_on(&self) -> bool {
        let parked = if self.mode() == Mode::Orderly { self.parked } else { 0 };
        !self.is_suspended && self.progress.open() > parked
    }

    /// The client has lost the queue: the member that has it now gets the messages that wait here.
    fn lose(&mut self) {
        self.is_lost = true;
        self.events.clear();
        self.next.clear();
        for place in 0..self.messages.len() {
            let state = &self.messages[place].state;
            if !state.is_running() && !state.is_closed() {
                self.left(place);
            }
        }
    }

    /// Gives the thread back if all that is left waits. The messages come again, and what was settled is known then.
    fn suspend(&mut self) {
        self.is_suspended = self.messages.iter().all(|message| !message.state.is_running());
    }

    /// The answer to the client at the end of the call.
    fn status(self, queue: &Queue) -> ConsumeStatus {
        if self.is_left {
            return ConsumeStatus::Leave;
        }
        let parked = self.messages.iter().filter_map(|message| match message.state {
            MessageState::Parked { until, .. } => Some(until),
            _ => None,
        });
        let soon = self.is_suspended.then(|| Instant::now().later(SUSPENDED));
        let Some(first) = parked.chain(soon).min() else { return ConsumeStatus::Success };
        let ends = self.messages.iter().zip(self.sources).filter_map(|(message, source)| {
            let CallMessage { failures, tries, .. } = *message;
            let end = match message.state {
                MessageState::Settled => EarlierEnd::Settled,
                MessageState::Parked { until, .. } => EarlierEnd::Failed { until, failures, tries },
                _ => return None,
            };
            Some((source.queue_offset(), end))
        });
        self.bridge.suspended.keep(queue, ends.collect());
        ConsumeStatus::Suspend(first.saturating_duration_since(Instant::now()))
    }

    fn happened(&mut self, event: CallEvent) {
        match event {
            CallEvent::ClaimedRun { admitted, rest } => {
                let runs = admitted.into_iter();
                let runs = runs.filter_map(|(message, admission)| self.admitted(message, admission));
                let runs = runs.collect();
                self.settling.extend(run::start(self.bridge, runs, self.signals));
                if let Some(waiting) = rest {
                    self.events.push(Box::pin(waiting.claim(self.bridge)));
                }
            }
            CallEvent::Admitted(message, admission) => {
                let runs = self.admitted(message, admission).into_iter().collect();
                self.settling.extend(run::start(self.bridge, runs, self.signals));
            }
            CallEvent::Deferred(waiting) => {
                for (message, leader) in waiting.leaders {
                    self.decided(message.place, waiting.handler.gate.defer(leader));
                }
            }
            CallEvent::Copied(place) => self.settled(place),
            CallEvent::Closed(place) => self.left(place),
            CallEvent::Due(place) => {
                self.unpark(place);
                self.admit([place]);
            }
        }
    }

    fn reported(&mut self, report: RunReport) {
        let RunReport::Ended(place, end) = report else { return };
        self.messages[place].state = MessageState::Entered;
        match end {
            RunEnd::Settled(settled) => self.decided(place, settled),
            RunEnd::Undone(admission) => self.undone(place, admission),
            RunEnd::Dropped => {
                self.bridge.user_is_gone.cancel();
                self.give_up(place);
            }
            RunEnd::Panicked => {
                self.bridge.engine.fault().fail("the task of a run");
                self.give_up(place);
            }
            RunEnd::Acked => self.settled(place),
        }
    }

    /// The message is left to the broker, because the consumer ends.
    fn give_up(&mut self, place: usize) {
        self.decided(place, Settled { decision: verdict::shutdown(), held: None });
    }

    fn admitted(&mut self, message: EnteredMessage, admission: Admission) -> Option<ReadyRun> {
        let EnteredMessage { place, handler, run } = message;
        match (admission, run) {
            (Admission::Run(claimed), Some(run)) => {
                let states = self.bridge.dispatch.states.clone();
                let message = &mut self.messages[place];
                message.state = MessageState::Running;
                let (delivery, hash) = (message.delivery.clone(), message.hash());
                let reporter = RunReporter::new(place, self.progress.clone(), self.mode() == Mode::Orderly);
                return Some(ReadyRun {
                    claimed,
                    run,
                    handler,
                    delivery,
                    hash,
                    states,
                    span: None,
                    reporter,
                });
            }
            (Admission::Run(_), None) => {
                debug_assert!(false, "a message without a payload is decided");
                self.bridge.engine.fault().fail("a listener call");
                self.give_up(place);
            }
            (Admission::Decided(settled), _) => self.decided(place, settled),
            (Admission::Later(admission), run) => {
                let message = EnteredMessage { place, handler, run };
                self.events.push(Box::pin(async move { CallEvent::Admitted(message, admission.await) }));
            }
        }
        None
    }

    /// A run was undone, and with it its payload is gone: it is decoded again.
    fn undone(&mut self, place: usize, admission: Admission) {
        if self.is_lost {
            return self.left(place);
        }
        let message = &mut self.messages[place];
        match message.let_in() {
            Some((_, handler, GateEntry::Ready { run, .. })) => {
                let message = EnteredMessage { place, handler, run: Some(run) };
                self.happened(CallEvent::Admitted(message, admission));
            }
            entered => {
                message.state = MessageState::Waiting(entered.map(|(_, _, entry)| entry));
                self.admit([place]);
            }
        }
    }

    /// A message is decided: it is reported, and tried again in place, or its copy is sent to the broker.
    fn decided(&mut self, place: usize, settled: Settled) {
        let is_concurrent = self.mode() == Mode::Concurrent;
        let message = &mut self.messages[place];
        let hash = message.hash();
        self.progress.decided(place, &settled.decision);
        match &message.handler {
            Some((_, handler)) => handler.meter.outcome(&message.delivery, &settled.decision, hash),
            None => settle::unhandled(&message.delivery, &settled.decision),
        }
        message.failures = verdict::failures(&settled.decision, message.failures);
        match settled.decision.verdict {
            Verdict::Ack => self.settled(place),
            Verdict::Leave => self.left(place),
            Verdict::Retry(_) | Verdict::DeadLetter if self.is_lost => self.left(place),
            Verdict::Retry(delay) if !is_concurrent => {
                message.tries = message.tries.saturating_add(1);
                let until = Instant::now().later(delay);
                message.state = MessageState::Parked { until, entry: None };
                self.wait(place, until);
            }
            Verdict::Retry(_) | Verdict::DeadLetter => {
                let (bridge, source, failures) = (self.bridge, &self.sources[place], message.failures);
                let (delivery, key) = (message.delivery.clone(), message.key.clone());
                self.events.push(Box::pin(async move {
                    let is_stored =
                        bridge.store_copy(source, &delivery, key.as_ref(), settled, failures).await;
                    if is_stored { CallEvent::Copied(place) } else { CallEvent::Closed(place) }
                }));
            }
        }
    }

    /// A retry came before its time.
    fn pass_on(&mut self, place: usize, left: Duration) {
        let (bridge, source) = (self.bridge, &self.sources[place]);
        let delivery = self.messages[place].delivery.clone();
        self.events.push(Box::pin(async move {
            let is_stored = bridge.pass_on(source, &delivery, left).await;
            if is_stored { CallEvent::Copied(place) } else { CallEvent::Closed(place) }
        }));
    }

    /// A parked message waits in place for its next try, and those that follow it wait with it.
    fn wait(&mut self, place: usize, until: Instant) {
        self.parked += self.from(place).count();
        let bridge = self.bridge;
        let delay = until.saturating_duration_since(Instant::now());
        self.events.push(Box::pin(async move {
            let is_closed = bridge.engine.closed_within(delay).await;
            if is_closed { CallEvent::Closed(place) } else { CallEvent::Due(place) }
        }));
    }

    fn unpark(&mut self, place: usize) {
        if let MessageState::Parked { entry, .. } = &mut self.messages[place].state {
            self.messages[place].state = MessageState::Waiting(entry.take());
            self.parked -= self.from(place).count();
        }
    }

    /// A message is done; the next one may begin.
    fn settled(&mut self, place: usize) {
        self.messages[place].state = MessageState::Settled;
        self.progress.close();
        self.next.extend(self.messages[place].next);
    }

    /// A message is left to the broker, and with it those that may not overtake it.
    fn left(&mut self, place: usize) {
        self.is_left = true;
        self.unpark(place);
        let places: Vec<_> = self.from(place).collect();
        for place in places {
            let state = &mut self.messages[place].state;
            if !state.is_closed() {
                *state = MessageState::Left;
                self.progress.close();
            }
        }
    }

    /// A message and all those that follow it.
    fn from(&self, place: usize) -> impl Iterator<Item = usize> {
        std::iter::successors(Some(place), |place| self.messages[*place].next)
    }
}

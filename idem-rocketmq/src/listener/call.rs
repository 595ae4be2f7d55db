//! One listener call: its messages are spread over the handlers, and each is settled by itself.

mod enter;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use idem_core::clock::Later as _;
use idem_core::engine::{Admission, Claimed, Settled, verdict};
use idem_core::panics;
use idem_core::{RecordKey, Verdict};
use tokio::sync::mpsc;

use super::dispatch::{Entry, Handler};
use super::recall::Past;
use super::report;
use super::run::{self, Report, Reporter, Shared, Start};
use super::seats::Asks;
use super::waiting::Waiting;
use super::{Bridge, Decisions};
use crate::client::{ConsumeStatus, Delivery, Mode, Queue, Received};
use crate::handler::Run;

/// For how long a queue is suspended whose thread others need.
const SUSPENDED: Duration = Duration::from_secs(1);

/// One message of the call.
struct Message {
    delivery: Arc<Delivery>,
    handler: Option<(usize, Arc<Handler>)>,
    /// Until it is let in.
    entry: Option<Entry>,
    run: Option<Run>,
    key: Option<RecordKey>,
    /// The place of the message that follows when this one is settled.
    next: Option<usize>,
    /// Its handler is at work on it.
    is_running: bool,
    /// How many attempts have failed, where no record counts them.
    failures: u32,
    /// How often it was tried again in place.
    tries: u32,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Settled,
    /// A retry that is still to wait for this long.
    Early(Duration),
    /// To the broker.
    Left,
    /// To be tried again in place, not before this.
    Parked(Instant),
}

/// What a call waits for.
pub(super) enum Event {
    /// A call gives up its thread: the leaders that wait for a busy handler are sent back.
    Deferred(Waiting),
    /// Leaders of one handler were claimed; the rest waits for permits.
    Claimed {
        admissions: Vec<(usize, Admission)>,
        rest: Option<Waiting>,
    },
    Admitted(usize, Admission),
    /// The broker has what it was to be told; `false` where the message is left to it.
    Told(usize, bool),
    /// A message that was parked is tried again.
    Again(usize),
}

/// A call under way.
struct Call<'a> {
    bridge: &'a Bridge,
    sources: &'a [&'a Received],
    messages: Vec<Message>,
    events: FuturesUnordered<BoxFuture<'a, Event>>,
    /// Runs whose handlers are over. They report by themselves.
    settling: FuturesUnordered<BoxFuture<'static, ()>>,
    shared: Arc<Shared>,
    /// Messages whose turn has come, because those before them are settled.
    next: Vec<usize>,
    /// Messages that wait for the end of a delay, with those that follow them.
    parked: usize,
    is_left: bool,
    asks: &'a Asks,
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
        sources: &[&Received],
        queue: &Queue,
        asks: &Asks,
        decisions: Option<&Arc<Decisions>>,
    ) -> ConsumeStatus {
        let settled = self.settle_call(sources, queue, asks, decisions);
        let fail = || self.engine.fault().fail("a listener call");
        panics::loud("listener", settled, fail).await.unwrap_or(ConsumeStatus::Leave)
    }

    async fn settle_call(
        &self,
        sources: &[&Received],
        queue: &Queue,
        asks: &Asks,
        decisions: Option<&Arc<Decisions>>,
    ) -> ConsumeStatus {
        let (sender, mut reports) = mpsc::unbounded_channel();
        let mut call = Call {
            bridge: self,
            sources,
            messages: Vec::with_capacity(sources.len()),
            events: FuturesUnordered::new(),
            settling: FuturesUnordered::new(),
            shared: Arc::new(Shared::new(sources.len(), sender, decisions.cloned())),
            next: Vec::new(),
            parked: 0,
            is_left: false,
            asks,
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
                () = asks.lost.notified(), if !call.is_lost => call.lose(),
                () = asks.aside.notified(), if is_orderly => call.suspend(),
            }
            call.admit_next();
        }
        call.answer(queue)
    }
}

impl Call<'_> {
    fn mode(&self) -> Mode {
        self.bridge.dispatch.mode
    }

    /// An orderly call ends when all that is left of it waits for a delay: the queue is suspended, so that another member
    /// may take it over. In broadcasting there is no other member, and what is not settled would be lost.
    fn goes_on(&self) -> bool {
        let parked = if self.mode() == Mode::Orderly { self.parked } else { 0 };
        !self.is_suspended && self.shared.open() > parked
    }

    /// The client has lost the queue: whoever has it now gets what waits here.
    fn lose(&mut self) {
        self.is_lost = true;
        self.events.clear();
        self.next.clear();
        for place in 0..self.messages.len() {
            let message = &self.messages[place];
            if !message.is_running
                && matches!(message.state, State::Open | State::Early(_) | State::Parked(_))
            {
                self.left(place);
            }
        }
    }

    /// Gives the thread back where all that is left waits. The messages come again, and what was settled is known then.
    fn suspend(&mut self) {
        self.is_suspended = self.messages.iter().all(|message| !message.is_running);
    }

    fn answer(self, queue: &Queue) -> ConsumeStatus {
        if self.is_left {
            return ConsumeStatus::Leave;
        }
        let parked = self.messages.iter().filter_map(|message| match message.state {
            State::Parked(until) => Some(until),
            _ => None,
        });
        let soon = self.is_suspended.then(|| Instant::now().later(SUSPENDED));
        let Some(first) = parked.chain(soon).min() else { return ConsumeStatus::Success };
        let past = self.messages.iter().zip(self.sources).filter_map(|(message, source)| {
            let past = match message.state {
                State::Open | State::Early(_) | State::Left => return None,
                State::Settled => Past::Settled,
                State::Parked(until) => {
                    Past::Failed { until, failures: message.failures, tries: message.tries }
                }
            };
            Some((source.queue_offset(), past))
        });
        self.bridge.recall.keep(queue, past.collect());
        ConsumeStatus::Suspend(first.saturating_duration_since(Instant::now()))
    }

    fn happened(&mut self, event: Event) {
        match event {
            Event::Claimed { admissions, rest } => {
                let runs =
                    admissions.into_iter().filter_map(|(place, admission)| self.admitted(place, admission));
                let runs = runs.collect();
                self.settling.extend(run::start(self.bridge, runs, self.asks));
                if let Some(waiting) = rest {
                    self.events.push(Box::pin(waiting.claim(self.bridge)));
                }
            }
            Event::Admitted(place, admission) => {
                let runs = self.admitted(place, admission).into_iter().collect();
                self.settling.extend(run::start(self.bridge, runs, self.asks));
            }
            Event::Deferred(waiting) => {
                for (place, leader) in waiting.places.into_iter().zip(waiting.leaders) {
                    self.decided(place, waiting.handler.gate.defer(leader));
                }
            }
            Event::Told(place, true) => self.settled(place),
            Event::Told(place, false) => self.left(place),
            Event::Again(place) => self.again(place),
        }
    }

    fn reported(&mut self, report: Report) {
        match report {
            Report::Settled(place, settled) => {
                self.messages[place].is_running = false;
                self.decided(place, settled);
            }
            Report::Again(place, admission) => {
                self.messages[place].is_running = false;
                self.undone(place, admission);
            }
            Report::Dropped(place) => {
                self.messages[place].is_running = false;
                self.bridge.user_is_gone.cancel();
                self.decided(place, Settled { decision: verdict::shutdown(), held: None });
            }
            Report::Panicked(place) => {
                self.bridge.engine.fault().fail("the task of a run");
                self.messages[place].is_running = false;
                self.decided(place, Settled { decision: verdict::shutdown(), held: None });
            }
            Report::Acked(place) => {
                self.messages[place].is_running = false;
                self.settled(place);
            }
            Report::Closed => {}
        }
    }

    fn admitted(&mut self, place: usize, admission: Admission) -> Option<Start> {
        match admission {
            Admission::Run(claimed) => return self.run(place, claimed),
            Admission::Decided(settled) => self.decided(place, settled),
            Admission::Later(admission) => {
                self.events.push(Box::pin(async move { Event::Admitted(place, admission.await) }));
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
        let entry = message.handler.as_ref().map(|(_, handler)| handler.prepare(&message.delivery).entry);
        if let Some(Entry::Ready { run, .. }) = entry {
            message.run = Some(run);
            self.happened(Event::Admitted(place, admission));
        } else {
            message.entry = entry;
            self.admit([place]);
        }
    }

    fn run(&mut self, place: usize, claimed: Claimed) -> Option<Start> {
        let message = &mut self.messages[place];
        let (Some((_, handler)), Some(run)) = (message.handler.clone(), message.run.take()) else {
            debug_assert!(false, "a message is run once, by its handler");
            self.reported(Report::Dropped(place));
            return None;
        };
        message.is_running = true;
        let delivery = message.delivery.clone();
        let hash = message.hash();
        let states = self.bridge.dispatch.states.clone();
        let reporter = Reporter::new(place, self.shared.clone(), self.mode() == Mode::Orderly);
        Some(Start { claimed, run, handler, delivery, hash, states, span: None, reporter })
    }

    /// A message is decided: it is reported, and tried again in place, or the broker is told where it must be.
    fn decided(&mut self, place: usize, settled: Settled) {
        let is_concurrent = self.mode() == Mode::Concurrent;
        let message = &mut self.messages[place];
        let hash = message.hash();
        self.shared.decided(place, &settled.decision);
        match &message.handler {
            Some((_, handler)) => handler.meter.outcome(&message.delivery, &settled.decision, hash),
            None => report::unhandled(&message.delivery, &settled.decision),
        }
        message.failures = verdict::failures(&settled.decision, message.failures);
        match settled.decision.verdict {
            Verdict::Ack => self.settled(place),
            Verdict::Leave => self.left(place),
            Verdict::Retry(_) | Verdict::DeadLetter if self.is_lost => self.left(place),
            Verdict::Retry(delay) if !is_concurrent => {
                message.tries = message.tries.saturating_add(1);
                message.state = State::Parked(Instant::now().later(delay));
                self.park(place);
            }
            Verdict::Retry(_) | Verdict::DeadLetter => {
                let (bridge, source, failures) = (self.bridge, self.sources[place], message.failures);
                let (delivery, key) = (message.delivery.clone(), message.key.clone());
                self.events.push(Box::pin(async move {
                    let is_told = bridge.tell(source, &delivery, key.as_ref(), settled, failures).await;
                    Event::Told(place, is_told)
                }));
            }
        }
    }

    /// A retry came before its time.
    fn pass_on(&mut self, place: usize, left: Duration) {
        let (bridge, source) = (self.bridge, self.sources[place]);
        let delivery = self.messages[place].delivery.clone();
        self.events
            .push(Box::pin(async move { Event::Told(place, bridge.pass_on(source, &delivery, left).await) }));
    }

    /// A message waits in place for its next try, and those that follow it wait with it.
    fn park(&mut self, place: usize) {
        let State::Parked(until) = self.messages[place].state else { return };
        self.parked += self.from(place).count();
        let bridge = self.bridge;
        let delay = until.saturating_duration_since(Instant::now());
        self.events.push(Box::pin(async move {
            let is_closed = bridge.engine.closed_within(delay).await;
            if is_closed { Event::Told(place, false) } else { Event::Again(place) }
        }));
    }

    fn unpark(&mut self, place: usize) {
        if matches!(self.messages[place].state, State::Parked(_)) {
            self.messages[place].state = State::Open;
            self.parked -= self.from(place).count();
        }
    }

    fn again(&mut self, place: usize) {
        self.unpark(place);
        let message = &mut self.messages[place];
        if let (Some((_, handler)), None) = (&message.handler, &message.entry) {
            message.entry = Some(handler.prepare(&message.delivery).entry);
        }
        self.admit([place]);
    }

    /// A message is done; the next one may begin.
    fn settled(&mut self, place: usize) {
        self.messages[place].state = State::Settled;
        self.shared.close();
        self.next.extend(self.messages[place].next);
    }

    /// A message is left to the broker, and with it those that may not overtake it.
    fn left(&mut self, place: usize) {
        self.is_left = true;
        self.unpark(place);
        let places: Vec<_> = self.from(place).collect();
        for place in places {
            self.messages[place].state = State::Left;
            self.shared.close();
        }
    }

    /// A message and all those that follow it.
    fn from(&self, place: usize) -> impl Iterator<Item = usize> {
        std::iter::successors(Some(place), |place| self.messages[*place].next)
    }
}

impl Message {
    fn hash(&self) -> Option<u64> {
        self.key.as_ref().map(RecordKey::hash64)
    }
}

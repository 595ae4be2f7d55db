//! One listener call: its messages are spread over the handlers, and each is settled by itself.

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use idem_core::engine::{Admission, Claimed, Entry, Leader, Settled};
use idem_core::{Decision, Outcome, RecordKey, Verdict};
use rocketmq_model::common::message::message_ext::MessageExt;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::Bridge;
use super::crowd;
use super::dispatch::{Handler, Prepare};
use super::report;
use crate::client;
use crate::delivery::Delivery;
use crate::handler::{CallContext, Run};
use crate::state::States;

/// One message of the call.
struct Message {
    delivery: Arc<Delivery>,
    handler: Option<Arc<Handler>>,
    run: Option<Run>,
    key: Option<RecordKey>,
}

/// What a call waits for.
enum Event {
    /// A call gives up its thread: the leaders that wait for a busy handler are sent back.
    Deferred(Waiting),
    /// Leaders of one handler were claimed; the rest waits for permits.
    Claimed {
        admissions: Vec<(usize, Admission)>,
        rest: Option<Waiting>,
    },
    Admitted(usize, Admission),
    /// The broker has what it was to be told; `false` where the message is left to it.
    Told(bool),
}

/// The leaders of one handler that are yet to be claimed, with their messages' places.
struct Waiting {
    handler: Arc<Handler>,
    places: VecDeque<usize>,
    leaders: VecDeque<Leader>,
}

/// What the tasks of a call report.
enum Report {
    Settled(usize, Settled),
    /// The task was dropped: the handlers' runtime is going away.
    Dropped(usize),
    /// The last message was closed.
    Closed,
}

/// What a call shares with its tasks.
///
/// A task that comes to an ack closes its message by itself, so that the call's thread is woken once and not for
/// each message.
struct Shared {
    open: AtomicUsize,
    reports: mpsc::UnboundedSender<Report>,
}

impl Shared {
    /// One message less is open. Whether it was the last.
    fn close(&self) -> bool {
        self.open.fetch_sub(1, Ordering::AcqRel) == 1
    }
}

/// A call under way.
struct Call<'a> {
    bridge: &'a Bridge,
    sources: &'a [&'a MessageExt],
    messages: Vec<Message>,
    events: FuturesUnordered<BoxFuture<'a, Event>>,
    shared: Arc<Shared>,
    is_settled: bool,
}

impl Bridge {
    /// Settles the messages of one listener call. `false` where some are left to the broker.
    pub(super) async fn call(&self, sources: &[&MessageExt]) -> bool {
        let (sender, mut reports) = mpsc::unbounded_channel();
        let mut call = Call {
            bridge: self,
            sources,
            messages: Vec::with_capacity(sources.len()),
            events: FuturesUnordered::new(),
            shared: Arc::new(Shared { open: AtomicUsize::new(sources.len()), reports: sender }),
            is_settled: true,
        };
        call.enter();
        while call.is_open() {
            tokio::select! {
                biased;
                Some(report) = reports.recv() => call.reported(report),
                Some(event) = call.events.next(), if !call.events.is_empty() => call.happened(event),
            }
        }
        call.is_settled
    }
}

impl Call<'_> {
    fn is_open(&self) -> bool {
        self.shared.open.load(Ordering::Acquire) > 0
    }

    /// Lets every message in; the leaders of each handler are claimed together.
    fn enter(&mut self) {
        let mut waiting: HashMap<usize, Waiting> = HashMap::new();
        for place in 0..self.sources.len() {
            let delivery = Arc::new(client::delivery(self.sources[place], &self.bridge.group));
            let found = self.bridge.dispatch.handler(delivery.topic(), delivery.tag());
            let Some((index, handler)) = found.map(|(index, handler)| (index, handler.clone())) else {
                self.messages.push(Message { delivery, handler: None, run: None, key: None });
                self.unhandled(place);
                continue;
            };
            let prepared = handler.prepare(&delivery);
            let gate = &handler.gate;
            let mut message = Message { delivery, handler: Some(handler.clone()), run: None, key: None };
            match prepared {
                Prepare::Ready { job, run } => {
                    message.run = Some(run);
                    message.key = Some(job.key.clone());
                    match gate.enter(job) {
                        Entry::Leader(leader) => {
                            let waiting =
                                waiting.entry(index).or_insert_with(|| Waiting::at(handler.clone()));
                            waiting.places.push_back(place);
                            waiting.leaders.push_back(leader);
                        }
                        Entry::Follower(follower) => self
                            .events
                            .push(Box::pin(async move { Event::Admitted(place, follower.admit().await) })),
                    }
                }
                Prepare::Unfit { what, reason, run } => {
                    message.run = run;
                    let attempt = super::settle::attempts(&message.delivery) + 1;
                    let admission = gate.unfit(what, reason, attempt);
                    self.events.push(Box::pin(async move { Event::Admitted(place, admission.await) }));
                }
            }
            self.messages.push(message);
        }
        for waiting in waiting.into_values() {
            self.events.push(Box::pin(waiting.claim(self.bridge)));
        }
    }

    fn unhandled(&mut self, place: usize) {
        let decision = super::settle::no_handler(&self.messages[place].delivery);
        self.decided(place, Settled { decision, held: None });
    }

    fn happened(&mut self, event: Event) {
        match event {
            Event::Claimed { admissions, rest } => {
                let runs =
                    admissions.into_iter().filter_map(|(place, admission)| self.admitted(place, admission));
                let runs = runs.collect();
                self.start(runs);
                if let Some(waiting) = rest {
                    self.events.push(Box::pin(waiting.claim(self.bridge)));
                }
            }
            Event::Admitted(place, admission) => {
                let runs = self.admitted(place, admission).into_iter().collect();
                self.start(runs);
            }
            Event::Deferred(waiting) => {
                for (place, leader) in waiting.places.into_iter().zip(waiting.leaders) {
                    self.decided(place, waiting.handler.gate.defer(leader));
                }
            }
            Event::Told(is_told) => self.close(is_told),
        }
    }

    fn reported(&mut self, report: Report) {
        match report {
            Report::Settled(place, settled) => self.decided(place, settled),
            Report::Dropped(place) => {
                self.bridge.user_is_gone.cancel();
                let decision = Decision::new(Verdict::Leave, Outcome::Shutdown);
                self.decided(place, Settled { decision, held: None });
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

    fn run(&mut self, place: usize, claimed: Claimed) -> Option<Start> {
        let message = &mut self.messages[place];
        let (Some(handler), Some(run)) = (message.handler.clone(), message.run.take()) else {
            debug_assert!(false, "a message is run once, by its handler");
            self.reported(Report::Dropped(place));
            return None;
        };
        let delivery = message.delivery.clone();
        let hash = message.hash();
        let states = self.bridge.dispatch.states.clone();
        let reporter = Reporter { place, shared: Some(self.shared.clone()) };
        Some(Start { claimed, run, handler, delivery, hash, states, reporter })
    }

    /// Starts runs.
    ///
    /// They begin on this thread, with the user's runtime entered, and go on in tasks of that runtime where they wait
    /// for something. Most quick handlers are done by then, and waking another thread costs more than they do. A
    /// handler that keeps the thread for long is not begun here for a while, so that it holds up no neighbour.
    fn start(&self, runs: Vec<Start>) {
        let user = &self.bridge.user;
        let _entered = user.enter();
        let mut later: Vec<OnUser> = Vec::new();
        let later_on = |run| OnUser { run, gone: Some(self.bridge.user_is_gone.clone()) };
        let begun = Instant::now();
        let mut last = begun;
        for run in runs {
            let handler = run.handler.clone();
            let mut run = run.finish().boxed();
            let is_user_gone = self.bridge.user_is_gone.is_cancelled();
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

    /// A message is decided: it is reported, and the broker is told where it must be.
    fn decided(&mut self, place: usize, settled: Settled) {
        let message = &self.messages[place];
        let hash = message.hash();
        match &message.handler {
            Some(handler) => handler.meter.outcome(&message.delivery, &settled.decision, hash),
            None => report::unhandled(&message.delivery, &settled.decision),
        }
        match settled.decision.verdict {
            Verdict::Ack => self.close(true),
            Verdict::Leave => self.close(false),
            Verdict::Retry(_) | Verdict::DeadLetter => {
                let (bridge, source) = (self.bridge, self.sources[place]);
                let (delivery, key) = (message.delivery.clone(), message.key.clone());
                self.events.push(Box::pin(async move {
                    Event::Told(bridge.tell(source, &delivery, key.as_ref(), settled).await)
                }));
            }
        }
    }

    fn close(&mut self, is_settled: bool) {
        self.is_settled &= is_settled;
        self.shared.close();
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
struct Start {
    claimed: Claimed,
    run: Run,
    handler: Arc<Handler>,
    delivery: Arc<Delivery>,
    hash: Option<u64>,
    states: Arc<States>,
    reporter: Reporter,
}

impl Start {
    /// Runs the handler, and settles as soon as it is done: no neighbour holds a completion back.
    async fn finish(self) {
        let Self { claimed, run, handler, delivery, hash, states, reporter } = self;
        let begun = Instant::now();
        let work = |lease, attempt| {
            let span = handler.span(&delivery, attempt, hash);
            run.call(CallContext { delivery: delivery.clone(), states, lease, attempt }).instrument(span)
        };
        let finished = claimed.run(work).await;
        handler.meter.ran(begun.elapsed());
        handler.pace.run_ended();
        let settled = handler.gate.settle_one(finished).await;
        if settled.decision.verdict == Verdict::Ack {
            handler.meter.outcome(&delivery, &settled.decision, hash);
            reporter.acked();
        } else {
            reporter.settled(settled);
        }
    }
}

impl Message {
    fn hash(&self) -> Option<u64> {
        self.key.as_ref().map(RecordKey::hash64)
    }
}

impl Waiting {
    fn at(handler: Arc<Handler>) -> Self {
        Self { handler, places: VecDeque::new(), leaders: VecDeque::new() }
    }

    async fn claim(mut self, bridge: &Bridge) -> Event {
        let gate = &self.handler.gate;
        let waits = self.handler.pace.wait(self.leaders.len());
        let permits = tokio::select! {
            biased;
            permits = gate.reserve(self.leaders.len()) => permits,
            () = bridge.crowded(&self.handler) => {
                drop(waits);
                return Event::Deferred(self);
            }
        };
        drop(waits);
        let admissions = gate.claim_reserved(permits, &mut self.leaders).await;
        let places = self.places.drain(..admissions.len());
        let admissions = places.zip(admissions).collect();
        Event::Claimed { admissions, rest: (!self.leaders.is_empty()).then_some(self) }
    }
}

/// Reports for one task, also when the task is dropped.
struct Reporter {
    place: usize,
    shared: Option<Arc<Shared>>,
}

impl Reporter {
    /// The message is done, and there is nothing to tell the broker.
    fn acked(mut self) {
        if let Some(shared) = self.shared.take()
            && shared.close()
        {
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

//! One listener call: its messages are spread over the handlers, and each is settled by itself.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use idem_core::engine::{Admission, Claimed, Entry, Leader, Settled};
use idem_core::{Decision, Outcome, RecordKey, Verdict};
use rocketmq_model::common::message::message_ext::MessageExt;
use tokio::sync::mpsc;

use super::Bridge;
use super::dispatch::{Handler, Prepare};
use super::report;
use super::run::{self, Report, Reporter, Shared, Start};
use crate::client;
use crate::delivery::Delivery;
use crate::handler::Run;

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
            shared: Arc::new(Shared::new(sources.len(), sender)),
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
        self.shared.is_open()
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
                run::start(self.bridge, runs);
                if let Some(waiting) = rest {
                    self.events.push(Box::pin(waiting.claim(self.bridge)));
                }
            }
            Event::Admitted(place, admission) => {
                let runs = self.admitted(place, admission).into_iter().collect();
                run::start(self.bridge, runs);
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
        let reporter = Reporter::new(place, self.shared.clone());
        Some(Start { claimed, run, handler, delivery, hash, states, reporter })
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
        let (at_least, at_most) = self.handler.start_together(self.leaders.len());
        let permits = tokio::select! {
            biased;
            permits = gate.reserve(at_least, at_most) => permits,
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

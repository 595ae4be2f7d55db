#![doc = include_str!("docs/testing.md")]

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::future::ready;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, join_all};
use idem_core::engine::{Admission, Engine, Leader, Settled, verdict};
use idem_core::{Decision, engine};
use tracing::Instrument as _;

use crate::Error;
use crate::client::Delivery;
use crate::consumer::{Builder, HasStore};
use crate::handler::{CallContext, Run};
use crate::listener::dispatch::{Dispatch, Entry, Handler};

pub use idem_core::{Outcome, Verdict};

/// A consumer without a broker: it takes deliveries by hand and says what it would tell the broker.
pub struct TestConsumer {
    dispatch: Dispatch,
}

impl<S> Builder<S> {
    /// The consumer without a broker, for tests of handlers. Name servers and credentials are not looked at.
    ///
    /// # Errors
    /// What [`check`](Self::check) would say.
    pub fn test(self) -> Result<TestConsumer, Error>
    where
        S: HasStore,
    {
        let (plan, store) = self.plan_without_broker()?;
        let dispatch = plan.dispatch(&Engine::new(store), None);
        Ok(TestConsumer { dispatch })
    }
}

/// A message on its way.
struct Message {
    place: usize,
    delivery: Arc<Delivery>,
    run: Option<Run>,
    hash: Option<u64>,
}

/// The messages of one handler that are yet to be claimed, in their leaders' order.
#[derive(Default)]
struct Waiting {
    messages: VecDeque<Message>,
    leaders: VecDeque<Leader>,
}

impl TestConsumer {
    /// Delivers one message through the whole glue: it is routed, decoded, keyed, claimed, run and settled.
    ///
    /// Where the decision is a dead letter, the broker counts as having stored it.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the handler and gives its key back.
    pub async fn deliver(&self, delivery: impl Into<Arc<Delivery>>) -> Decision {
        self.deliver_all([delivery.into()]).await.remove(0)
    }

    /// Delivers messages together, as a broker does under load: a batch handler gets what it may get of them in one
    /// call, and duplicates among them wait for the first of their key. The decisions are in the messages' order.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the handlers and gives their keys back.
    pub async fn deliver_all<D: Into<Arc<Delivery>>>(
        &self,
        deliveries: impl IntoIterator<Item = D>,
    ) -> Vec<Decision> {
        let mut waiting: HashMap<usize, Waiting> = HashMap::new();
        let mut work: Vec<BoxFuture<'_, Vec<(usize, Decision)>>> = Vec::new();
        for (place, delivery) in deliveries.into_iter().map(Into::into).enumerate() {
            let Some((index, handler)) = self.dispatch.handler(delivery.topic(), delivery.tag()) else {
                let decision = verdict::no_handler(delivery.reconsume_times());
                work.push(async move { vec![(place, decision)] }.boxed());
                continue;
            };
            let (gate, prepared) = (&handler.gate, handler.prepare(&delivery));
            let mut message = Message { place, delivery, run: None, hash: None };
            let admission = match prepared.entry {
                Entry::Unfit { what, reason, run } => {
                    message.run = run;
                    gate.unfit(what, reason, message.delivery.reconsume_times().saturating_add(1)).boxed()
                }
                Entry::Ready { job, run } => {
                    gate.fit();
                    message.hash = Some(job.key.hash64());
                    message.run = Some(run);
                    match gate.enter(job) {
                        engine::Entry::Leader(leader) => {
                            let waiting = waiting.entry(index).or_default();
                            waiting.messages.push_back(message);
                            waiting.leaders.push_back(leader);
                            continue;
                        }
                        engine::Entry::Follower(follower) => follower.admit().boxed(),
                        engine::Entry::Decided(settled) => ready(Admission::Decided(settled)).boxed(),
                    }
                }
            };
            work.push(async move { vec![self.decide(handler, message, admission.await).await] }.boxed());
        }
        let handlers = self.dispatch.handlers();
        work.extend(waiting.into_iter().map(|(index, waiting)| self.lead(&handlers[index], waiting).boxed()));
        let mut decisions: Vec<_> = join_all(work).await.into_iter().flatten().collect();
        decisions.sort_by_key(|(place, _)| *place);
        decisions.into_iter().map(|(_, decision)| decision).collect()
    }

    /// Claims and runs as many messages at a time as the handler may have.
    async fn lead(&self, handler: &Handler, mut waiting: Waiting) -> Vec<(usize, Decision)> {
        let mut decisions = Vec::new();
        while !waiting.leaders.is_empty() {
            let (at_least, at_most) = handler.start_together(waiting.leaders.len());
            let permits = handler.gate.reserve(at_least, at_most).await;
            let admissions = handler.gate.claim_reserved(permits, &mut waiting.leaders).await;
            let seat = handler.route.handler().gather();
            let messages = waiting.messages.drain(..admissions.len()).zip(admissions);
            let started: Vec<_> = messages
                .map(|(mut message, admission)| {
                    if let (Admission::Run(_), Some(seat)) = (&admission, &seat) {
                        message.run = message.run.map(seat);
                    }
                    self.decide(handler, message, admission)
                })
                .collect();
            drop(seat);
            decisions.extend(join_all(started).await);
        }
        decisions
    }

    async fn decide(&self, handler: &Handler, message: Message, admission: Admission) -> (usize, Decision) {
        let place = message.place;
        let Settled { decision, held } = self.settle(handler, message, admission).await;
        if let Some(held) = held {
            held.release(&decision).await;
        }
        (place, decision)
    }

    async fn settle(&self, handler: &Handler, message: Message, mut admission: Admission) -> Settled {
        let Message { delivery, mut run, hash, .. } = message;
        loop {
            match admission {
                Admission::Later(later) => admission = later.await,
                Admission::Decided(settled) => return settled,
                Admission::Run(claimed) => {
                    let begun = run.take().expect("what is run was decoded");
                    let (states, transaction) = (self.dispatch.states.clone(), claimed.transaction());
                    let called = delivery.clone();
                    let work = |lease, attempt| {
                        let (span, delivery) = (handler.span(&called, attempt, hash), called.clone());
                        begun
                            .call(CallContext { delivery, states, lease, attempt, transaction })
                            .instrument(span)
                    };
                    match claimed.run(work).await.again() {
                        Ok(again) => admission = again,
                        Err(finished) => return handler.gate.settle_one(finished).await,
                    }
                    if let Entry::Ready { run: again, .. } = handler.prepare(&delivery).entry {
                        run = Some(again);
                    }
                }
            }
        }
    }
}

impl fmt::Debug for TestConsumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestConsumer").field("handlers", &self.dispatch.handlers().len()).finish()
    }
}

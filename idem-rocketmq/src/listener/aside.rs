//! How a call gives its thread back while its messages wait, and goes on elsewhere.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use std::{pin, thread};

use cheetah_string::CheetahString;
use futures_util::future::{self, BoxFuture, Either};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use idem_core::panics;
use tokio::sync::mpsc;

use super::seats::{Asks, ENOUGH, Stay};
use super::{Bridge, Broker};
use crate::client::{ConsumeStatus, Mode, Queue, Received};

/// The time between two looks while threads are short, and while they are not.
const LOOK: Duration = Duration::from_millis(200);
const LOOKS_AT_REST: u32 = 25;

/// After so long without a message that was set aside, a topic is itself again.
const CALM: Duration = Duration::from_secs(10);

/// Where calls go on that have given their threads back: on one thread of idem's own, which only hands on what they wait for. A
/// handler never begins here.
#[derive(Clone)]
pub(super) struct Lounge(mpsc::UnboundedSender<BoxFuture<'static, ()>>);

impl Lounge {
    /// None where the machine gives no thread.
    pub(super) fn open() -> Option<Self> {
        let (sender, mut calls) = mpsc::unbounded_channel::<BoxFuture<'static, ()>>();
        let live = async move {
            let mut under_way = FuturesUnordered::new();
            let mut is_open = true;
            while is_open || !under_way.is_empty() {
                tokio::select! {
                    call = calls.recv(), if is_open => match call {
                        Some(call) => under_way.push(call),
                        None => is_open = false,
                    },
                    Some(()) = under_way.next(), if !under_way.is_empty() => {}
                }
            }
        };
        let thread = thread::Builder::new().name("idem-aside".to_owned()).spawn(move || {
            let _entered = idem_core::runtime::handle().enter();
            pollster::block_on(panics::loud("aside", live, || {}));
        });
        thread.is_ok().then_some(Self(sender))
    }

    fn take(&self, call: BoxFuture<'static, ()>) {
        // It is received for as long as there is a sender.
        let _ = self.0.send(call);
    }
}

/// A call's place among those under way. Where it is dropped, the call's messages are left to the broker.
pub(super) struct Ticket {
    pub(super) bridge: Arc<Bridge>,
    pub(super) queue: Queue,
    pub(super) first: i64,
    pub(super) id: u64,
    pub(super) asks: Arc<Asks>,
    pub(super) lounge: Option<Lounge>,
    pub(super) place: Place,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Thread,
    Aside,
    Over,
}

impl Ticket {
    /// Settles the messages of a call, on this thread or, where it has to give it back, elsewhere.
    pub(super) fn work(mut self, sources: &[&Received], queue: &Queue) -> ConsumeStatus {
        let Some(lounge) = self.lounge.take() else {
            let answer = pollster::block_on(self.bridge.clone().call(sources, queue, &self.asks, None));
            return self.over(answer);
        };
        let call = {
            let (bridge, queue, asks) = (self.bridge.clone(), queue.clone(), self.asks.clone());
            let owned: Vec<_> = sources.iter().map(|source| (*source).clone()).collect();
            async move {
                let sources: Vec<_> = owned.iter().collect();
                bridge.call(&sources, &queue, &asks, None).await
            }
        };
        let call = call.boxed();
        let worked = {
            let asked = pin::pin!(self.asked());
            match pollster::block_on(future::select(call, asked)) {
                Either::Left((answer, _)) => Either::Left(answer),
                Either::Right((is_lost, call)) => Either::Right((is_lost, call)),
            }
        };
        match worked {
            Either::Left(answer) => self.over(answer),
            Either::Right((is_lost, call)) => {
                self.place = Place::Aside;
                let fault = self.bridge.engine.fault().clone();
                let rest = async move {
                    let answer = call.await;
                    self.over(answer);
                };
                let fail = move || fault.fail("a listener call");
                lounge.take(panics::loud("aside", rest, fail).map(|_| ()).boxed());
                if is_lost { ConsumeStatus::Lost } else { ConsumeStatus::Success }
            }
        }
    }

    /// Waits until the call has to give its thread back, and may. Whether its queue is lost.
    async fn asked(&self) -> bool {
        loop {
            self.asks.aside.notified().await;
            if let Some(is_lost) = self.bridge.calls.state.lock().seats.set_aside(self.id) {
                return is_lost;
            }
        }
    }

    /// The call is over. Blocks the thread until it may say so.
    fn over(mut self, answer: ConsumeStatus) -> ConsumeStatus {
        let calls = self.bridge.calls.clone();
        let mut state = calls.state.lock();
        if self.place == Place::Aside {
            let is_left = answer != ConsumeStatus::Success;
            self.place = Place::Over;
            let wakes = state.seats.over_aside((&self.queue, self.first, self.id), is_left);
            state.ended += 1;
            drop(state);
            calls.over(wakes);
            return answer;
        }
        let mut stay = Stay::No;
        if answer == ConsumeStatus::Success {
            calls.seats.wait_while(&mut state, |state| {
                stay = state.seats.stay(self.id);
                stay == Stay::Yes
            });
        }
        self.place = Place::Over;
        let is_lost = state.seats.over(self.id);
        state.ended += 1;
        drop(state);
        calls.over(true);
        match stay {
            _ if is_lost => ConsumeStatus::Lost,
            Stay::ForGood => ConsumeStatus::Leave,
            Stay::No | Stay::Yes => answer,
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let calls = self.bridge.calls.clone();
        let mut state = calls.state.lock();
        match self.place {
            Place::Thread => drop(state.seats.over(self.id)),
            Place::Aside => drop(state.seats.over_aside((&self.queue, self.first, self.id), true)),
            Place::Over => return,
        }
        state.ended += 1;
        drop(state);
        calls.over(true);
    }
}

/// Looks after the calls of a bridge for as long as there is one.
pub(super) fn watch(bridge: &Arc<Bridge>, client: &Arc<dyn Broker>) {
    let (weak, client) = (Arc::downgrade(bridge), Arc::downgrade(client));
    bridge.spawn("aside", async move {
        let mut said = HashMap::new();
        for turn in 0_u32.. {
            tokio::time::sleep(LOOK).await;
            let Some(bridge) = Weak::upgrade(&weak) else { return };
            bridge.say(&mut said);
            if let Some(client) = Weak::upgrade(&client) {
                bridge.look_after(&*client, turn.is_multiple_of(LOOKS_AT_REST)).await;
            }
        }
    });
}

impl Bridge {
    /// Finds out which queues were lost, and has threads given back where they are short.
    async fn look_after(&self, client: &dyn Broker, is_due: bool) {
        let next = {
            let seats = &self.calls.state.lock().seats;
            let is_at_rest = seats.on_threads() <= ENOUGH && !is_due;
            if seats.is_empty() || is_at_rest {
                return;
            }
            if self.dispatch.mode == Mode::Orderly {
                seats.ask_all();
                return;
            }
            seats.next()
        };
        let Some(queues) = client.queues().await else { return };
        {
            let seats = &mut self.calls.state.lock().seats;
            seats.look(&queues, next);
            seats.ask();
        }
        // The first call of a queue that was lost stays for nobody any more.
        self.calls.seats.notify_all();
    }

    /// Says of which topics messages were set aside.
    fn say(&self, said: &mut HashMap<CheetahString, Instant>) {
        let aside = self.calls.state.lock().seats.aside();
        for (topic, messages) in &aside {
            self.gauge(topic, *messages);
            if said.insert(topic.clone(), Instant::now()).is_none() {
                tracing::warn!(
                    group = &*self.group,
                    topic = &**topic,
                    set_aside = messages,
                    "messages of this topic wait in great numbers and were set aside, so that those of other handlers come in: \
                     the topic's offsets stay behind, and no more than 2,000 messages of a queue are taken in until they are \
                     settled"
                );
            }
        }
        said.retain(|topic, last| {
            self.gauge(topic, aside.get(topic).copied().unwrap_or_default());
            let is_over = last.elapsed() > CALM;
            if is_over {
                tracing::info!(
                    group = &*self.group,
                    topic = &**topic,
                    set_aside = 0,
                    "no message of this topic is set aside any more"
                );
            }
            !is_over
        });
    }

    #[expect(clippy::cast_precision_loss, reason = "a process holds far fewer than 2^52 messages")]
    fn gauge(&self, topic: &CheetahString, messages: usize) {
        let labels = [("group", self.group.to_string()), ("topic", topic.to_string())];
        metrics::gauge!("idem_messages_set_aside", &labels).set(messages as f64);
    }
}

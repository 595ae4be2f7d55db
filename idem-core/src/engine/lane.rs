//! Batches that form by themselves, one lane for each operation of the store.
//!
//! As in a group commit, what is ready while a round trip is under way goes with the next one. Nothing waits for
//! a batch to fill: where no round trip is under way, one starts at once. Under load a few are under way together,
//! so that a store has work while its answers travel; single requests do not start those, because a store does
//! many keys at once for little more than one. Where a store works on several calls side by side, as databases do, they
//! share what waits.

use std::future::Future;
use std::slice;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Either};
use metrics::Histogram;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::turn::TokenTurn;
use crate::clock::Clock;
use crate::lease::Flight;
use crate::panics::{self, Fault};
use crate::store::{
    Answer, Answers, Claim, ClaimRequest, CompleteRequest, Locality, ReleaseRequest, RenewRequest, Store,
    StoreError, guarded,
};

/// How many requests must wait, for each round trip that is under way, before they start one beside it: a store takes
/// many keys at once for less than it takes them in two calls.
const WORTH_A_TRIP: usize = 32;
/// How many round trips of a lane may be under way at once.
const MOST_TRIPS: usize = 4;

/// One operation of the store.
pub(crate) trait Operation: Send + Sync + 'static {
    type Request: Send + Sync + 'static;
    type Answer: Send + 'static;
    const NAME: &'static str;
    fn call<'a>(store: &'a dyn Store, batch: &'a [Self::Request]) -> BoxFuture<'a, Answers<Self::Answer>>;
}

macro_rules! operations {
    ($($name:ident: $method:ident($request:ty) -> $answer:ty;)*) => {$(
        pub(crate) struct $name;

        impl Operation for $name {
            type Request = $request;
            type Answer = $answer;
            const NAME: &'static str = stringify!($method);

            fn call<'a>(store: &'a dyn Store, batch: &'a [$request]) -> BoxFuture<'a, Answers<$answer>> {
                store.$method(batch)
            }
        }
    )*};
}

operations! {
    Claims: claim(ClaimRequest) -> Claim;
    Renewals: renew(RenewRequest) -> Answer;
    Completions: complete(CompleteRequest) -> Answer;
    Releases: release(ReleaseRequest) -> Answer;
}

/// The answers to one group of requests, and when they were sent at the earliest.
pub(crate) struct Replies<T> {
    /// Before the request left this process: what a lease's local deadline counts from.
    pub(crate) sent: Duration,
    pub(crate) answers: Vec<Result<T, StoreError>>,
}

/// One operation's lane to the store. Cloning shares it.
pub(crate) struct Lane<O: Operation>(Arc<LaneInner<O>>);

impl<O: Operation> Clone for Lane<O> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

struct LaneInner<O: Operation> {
    store: Arc<dyn Store>,
    clock: Clock,
    runtime: Handle,
    fault: Arc<Fault>,
    queue: Mutex<RequestQueue<O>>,
    keys: OnceLock<Histogram>,
}

struct RequestQueue<O: Operation> {
    groups: Vec<RequestGroup<O>>,
    /// The requests of the groups.
    waiting: usize,
    /// Round trips, those included that have not taken their requests yet.
    under_way: usize,
}

struct RequestGroup<O: Operation> {
    requests: Vec<O::Request>,
    /// Until the answer is there, no other operation of these tokens is asked for.
    turns: Vec<TokenTurn>,
    reply: oneshot::Sender<Replies<O::Answer>>,
}

impl<O: Operation> Lane<O> {
    pub(crate) fn new(store: Arc<dyn Store>, clock: Clock, runtime: Handle, fault: Arc<Fault>) -> Self {
        let queue = Mutex::new(RequestQueue { groups: Vec::new(), waiting: 0, under_way: 0 });
        Self(Arc::new(LaneInner { store, clock, runtime, fault, queue, keys: OnceLock::new() }))
    }

    /// Whether an operation is over when its call is, so that none is ever under way.
    fn answers_at_once(&self) -> bool {
        self.0.store.locality() == Locality::InProcess
    }

    /// Adds the turn of a flight's token to `turns`, and waits for it.
    pub(crate) async fn turn(&self, flight: &Arc<Flight>, turns: &mut Vec<TokenTurn>) {
        if !self.answers_at_once() {
            turns.push(TokenTurn::of(flight).await);
        }
    }

    /// As [`turn`](Self::turn), without waiting. Whether it was free.
    pub(crate) fn takes_turn(&self, flight: &Arc<Flight>, turns: &mut Vec<TokenTurn>) -> bool {
        if self.answers_at_once() {
            return true;
        }
        let turn = TokenTurn::try_of(flight);
        let is_free = turn.is_some();
        turns.extend(turn);
        is_free
    }

    /// Sends requests with the next round trip, in the turns of their tokens. The answers come in the requests' order.
    ///
    /// # Cancel safety
    /// A dropped call is sent all the same once it was queued.
    pub(crate) async fn call(&self, requests: Vec<O::Request>, turns: Vec<TokenTurn>) -> Replies<O::Answer> {
        if requests.is_empty() {
            return Replies { sent: self.0.clock.now(), answers: Vec::new() };
        }
        match self.0.store.locality() {
            Locality::InProcess => self.0.round_trip(&requests).await,
            Locality::Remote => self.queued(requests, turns).await,
        }
    }

    /// As [`call`](Self::call), for one request and its turn.
    // No async function: it would have room for both ways in one, and each message has one of these.
    pub(crate) fn call_one(
        &self,
        request: O::Request,
        turns: Vec<TokenTurn>,
    ) -> impl Future<Output = (Duration, Result<O::Answer, StoreError>)> + Send {
        let only = |Replies { sent, mut answers }: Replies<O::Answer>| {
            (sent, answers.pop().unwrap_or_else(|| Err(no_answer())))
        };
        match self.0.store.locality() {
            Locality::InProcess => Either::Left(async move {
                let sent = self.0.clock.now();
                only(Replies { sent, answers: self.0.ask(slice::from_ref(&request)).await })
            }),
            Locality::Remote => Either::Right(self.queued(vec![request], turns).map(only)),
        }
    }

    /// Sends one request when it is its token's turn.
    ///
    /// # Cancel safety
    /// A dropped call is sent all the same once it was queued.
    pub(crate) async fn ask(
        &self,
        flight: &Arc<Flight>,
        request: O::Request,
    ) -> (Duration, Result<O::Answer, StoreError>) {
        let mut turns = Vec::new();
        self.turn(flight, &mut turns).await;
        self.call_one(request, turns).await
    }

    async fn queued(&self, requests: Vec<O::Request>, turns: Vec<TokenTurn>) -> Replies<O::Answer> {
        let count = requests.len();
        let (reply, answers) = oneshot::channel();
        self.push(RequestGroup { requests, turns, reply });
        answers.await.unwrap_or_else(|_| Replies {
            sent: Duration::ZERO,
            answers: (0..count).map(|_| Err(no_answer())).collect(),
        })
    }

    fn push(&self, group: RequestGroup<O>) {
        let mut queue = self.0.queue.lock();
        queue.waiting += group.requests.len();
        queue.groups.push(group);
        if queue.starts_a_trip() {
            queue.under_way += 1;
            drop(queue);
            self.0.start_a_trip();
        }
    }
}

impl<O: Operation> RequestQueue<O> {
    fn starts_a_trip(&self) -> bool {
        self.under_way == 0 || (self.waiting >= WORTH_A_TRIP * self.under_way && self.under_way < MOST_TRIPS)
    }
}

fn no_answer() -> StoreError {
    StoreError::unavailable("the store's connection task ended before it answered")
}

impl<O: Operation> LaneInner<O> {
    fn start_a_trip(self: &Arc<Self>) {
        let (shared, fault) = (self.clone(), self.fault.clone());
        let trips = async move {
            let trip = RoundTrip(&shared);
            while shared.next_round_trip().await {}
            // A trip that took nothing has been counted out.
            std::mem::forget(trip);
        };
        self.runtime.spawn(panics::loud("lane", trips, move || fault.fail("a lane to the store")));
    }

    /// Takes what is queued and sends it. Whether there was anything.
    async fn next_round_trip(self: &Arc<Self>) -> bool {
        let (groups, starts_another) = self.take();
        if groups.is_empty() {
            return false;
        }
        if starts_another {
            self.start_a_trip();
        }
        let mut requests = Vec::with_capacity(groups.iter().map(|group| group.requests.len()).sum());
        let mut asked = Vec::with_capacity(groups.len());
        for group in groups {
            asked.push((group.requests.len(), group.turns, group.reply));
            requests.extend(group.requests);
        }
        let replies = self.round_trip(&requests).await;
        let mut answers = replies.answers.into_iter();
        for (count, turns, reply) in asked {
            let answers = answers.by_ref().take(count).collect();
            drop(turns);
            // Whoever asked may be gone by now; what was claimed for them runs out with its lease.
            let _ = reply.send(Replies { sent: replies.sent, answers });
        }
        true
    }

    /// The groups that the next round trip takes, and whether another one starts for the rest.
    fn take(&self) -> (Vec<RequestGroup<O>>, bool) {
        let mut queue = self.queue.lock();
        let max = self.store.max_batch().min(self.share(queue.waiting));
        let mut count = 0;
        let fitting = queue.groups.iter().take_while(|group| {
            count += group.requests.len();
            count <= max
        });
        let fitting = fitting.count().max(1).min(queue.groups.len());
        let groups: Vec<RequestGroup<O>> = queue.groups.drain(..fitting).collect();
        queue.waiting -= groups.iter().map(|group| group.requests.len()).sum::<usize>();
        queue.under_way -= usize::from(groups.is_empty());
        let starts_another = !groups.is_empty() && queue.waiting > 0 && queue.starts_a_trip();
        queue.under_way += usize::from(starts_another);
        (groups, starts_another)
    }

    /// How many of the requests that wait one round trip takes: a store with several connections works on as many calls
    /// side by side, each of which takes its time for every key.
    fn share(&self, waiting: usize) -> usize {
        match self.store.connections() {
            Some(connections) if connections > 1 => {
                waiting.div_ceil(MOST_TRIPS.min(connections as usize)).max(WORTH_A_TRIP)
            }
            _ => waiting,
        }
    }

    /// One call of the store for each `max_batch` requests; usually one.
    async fn round_trip(&self, requests: &[O::Request]) -> Replies<O::Answer> {
        let sent = self.clock.now();
        let max = self.store.max_batch().max(1);
        if requests.len() <= max {
            return Replies { sent, answers: self.ask(requests).await };
        }
        let mut answers = Vec::with_capacity(requests.len());
        for chunk in requests.chunks(max) {
            answers.extend(self.ask(chunk).await);
        }
        Replies { sent, answers }
    }

    /// Asks the store; a statement that fails as a whole is repeated in halves, so that one bad key does not
    /// fail its neighbours.
    async fn ask(&self, batch: &[O::Request]) -> Vec<Result<O::Answer, StoreError>> {
        self.keys().record(as_f64(batch.len()));
        let asked = guarded::ask(self.store.name(), || O::call(&*self.store, batch)).await;
        match asked {
            Ok(answers) if answers.len() == batch.len() => answers,
            Ok(answers) => {
                let text = format!("the store answered {} of {} keys", answers.len(), batch.len());
                batch.iter().map(|_| Err(StoreError::unavailable(text.clone()))).collect()
            }
            Err(error) if batch.len() > 1 && !error.is_unavailable() && !error.is_config() => {
                self.ask_halves(batch).await
            }
            Err(error) => batch.iter().map(|_| Err(error.clone())).collect(),
        }
    }

    fn ask_halves<'a>(
        &'a self,
        batch: &'a [O::Request],
    ) -> BoxFuture<'a, Vec<Result<O::Answer, StoreError>>> {
        async move {
            let (left, right) = batch.split_at(batch.len() / 2);
            let mut answers = self.ask(left).await;
            answers.extend(self.ask(right).await);
            answers
        }
        .boxed()
    }

    /// How many keys a call has, registered at first use.
    fn keys(&self) -> &Histogram {
        let new = || metrics::histogram!("idem_store_batch_keys", "operation" => O::NAME);
        self.keys.get_or_init(new)
    }
}

/// Round trips that are under way. Where they end by a panic, nobody waits for one that never comes.
struct RoundTrip<'a, O: Operation>(&'a LaneInner<O>);

impl<O: Operation> Drop for RoundTrip<'_, O> {
    fn drop(&mut self) {
        let mut queue = self.0.queue.lock();
        queue.under_way = queue.under_way.saturating_sub(1);
        let left = if queue.under_way == 0 { std::mem::take(&mut queue.groups) } else { Vec::new() };
        queue.waiting = queue.groups.iter().map(|group| group.requests.len()).sum();
        drop(queue);
        // Their replies say so, as their senders are gone.
        drop(left);
    }
}

#[expect(clippy::cast_precision_loss, reason = "a batch has far fewer than 2^52 keys")]
fn as_f64(count: usize) -> f64 {
    count as f64
}

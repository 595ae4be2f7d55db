//! Redis goes away under load and comes back.
//!
//! Run alone: `cargo test --workspace --all-features --test e2e -- availability::absence::`

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use idem_rocketmq::RunningConsumer;
use idem_rocketmq::embedded::{self, Outgoing};
use idem_rocketmq::prelude::*;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::support::kit::{note, until};
use crate::support::place::{Place, confirmed};
use crate::support::process::{self, Crew, End, Redis, Worker};

const LONG: Duration = Duration::from_mins(1);
const LEASE: Duration = Duration::from_secs(3);
const SHORT: Duration = Duration::from_millis(20);

/// Both faces of an outage, one after the other: a store that hangs, and one that is not there.
#[tokio::test(flavor = "multi_thread")]
async fn a_three_minute_outage_is_held() {
    let mut scene = Scene::start(SHORT).await;
    let load = scene.load();
    scene.until_done(500).await;
    scene.redis.pause();
    scene.stands_still(Duration::from_secs(90)).await;
    scene.redis.kill();
    scene.stands_still(Duration::from_secs(90)).await;
    scene.redis.restart().await;
    scene.goes_on(load).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_seconds_of_a_store_that_hangs_are_held() {
    let scene = Scene::start(SHORT).await;
    let load = scene.load();
    scene.until_done(500).await;
    scene.redis.pause();
    scene.stands_still(Duration::from_secs(10)).await;
    scene.redis.go_on();
    scene.goes_on(load).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_seconds_of_a_store_that_was_killed_are_held() {
    let mut scene = Scene::start(SHORT).await;
    let load = scene.load();
    scene.until_done(500).await;
    scene.redis.kill();
    scene.stands_still(Duration::from_secs(10)).await;
    scene.redis.restart().await;
    scene.goes_on(load).await;
}

/// Each round stops the store at another moment of a claim or a completion.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_comes_and_goes_is_held() {
    let mut scene = Scene::start(SHORT).await;
    let load = scene.load();
    for round in 0..8 {
        scene.until_done(100 + scene.ledger.count(Step::Done)).await;
        if round % 2 == 0 {
            scene.redis.pause();
            tokio::time::sleep(LEASE / 4 * (round + 1)).await;
            scene.redis.go_on();
        } else {
            scene.redis.kill();
            tokio::time::sleep(LEASE / 10 * round).await;
            scene.redis.restart().await;
        }
    }
    scene.goes_on(load).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn handlers_that_outlive_their_lease_in_an_outage_are_cancelled_and_run_again() {
    const KEYS: usize = 40;
    let scene = Scene::start(2 * LEASE).await;
    scene.place.send_all((0..KEYS).map(|number| message(&scene.place.topic, number)).collect()).await;
    let sent = scene.place.stored().await;
    // The handler takes 32 at once.
    until("handlers at work", LONG, || async { scene.ledger.count(Step::Begin) == 32 }).await;
    scene.redis.pause();
    let paused = Instant::now();
    until("all are cancelled", LONG, || async { scene.ledger.count(Step::Dropped) == 32 }).await;
    println!("cancelled {:.1?} after the store went away, with a lease of {LEASE:?}", paused.elapsed());
    while paused.elapsed() < 3 * LEASE {
        scene.nothing_is_acked_that_was_not_done(sent).await;
        tokio::time::sleep(SHORT).await;
    }
    assert_eq!(scene.ledger.count(Step::Begin), 32, "a handler began while the store was away");
    assert_eq!(scene.ledger.count(Step::Done), 0);
    scene.redis.go_on();
    until("all keys done", LONG, || async { scene.ledger.count(Step::Done) == KEYS }).await;
    until("no backlog", LONG, || async { scene.place.left().await == 0 }).await;
    let steps = scene.ledger.steps();
    for (key, steps) in &steps {
        assert!(
            steps.iter().all(|(_, attempt)| *attempt == 1),
            "an attempt was counted for {key}: {steps:?}"
        );
        let ends: Vec<Step> = steps.iter().map(|(step, _)| *step).collect();
        let once = [Step::Begin, Step::Done];
        let twice = [Step::Begin, Step::Dropped, Step::Begin, Step::Done];
        assert!(ends == once || ends == twice, "{key}: {ends:?}");
    }
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_blocks_every_thread_keeps_its_lease() {
    let (place, redis) = (Place::plain(8).await, Redis::start().await);
    let crew = Crew::of(&place, &redis);
    let mut first = Worker::start(&crew, "first", 2);
    // As many as the process has threads for handlers.
    let blocking = ["blocking-0", "blocking-1"];
    let order = |key: &str| process::work(&place.topic, key, 1, 0, true);
    for key in blocking {
        place.send(order(key)).await;
    }
    crew.ledger.until("both threads blocked", LONG, |runs| runs.len() == 2).await;
    let blocked = Instant::now();
    let mut second = Worker::start(&crew, "second", 2);
    // Duplicates go to all queues in turn, so that some come to the second worker.
    let conflicts = async || {
        let retries = place.retries().await;
        let conflicts = retries.iter().filter(|copy| note(copy, "IDEM_OUTCOME") == "in_progress");
        conflicts.map(|copy| note(copy, "IDEM_KEY").to_owned()).collect::<BTreeSet<_>>()
    };
    let mut duplicates = 0;
    while blocked.elapsed() < 4 * LEASE || conflicts().await.len() < blocking.len() {
        assert!(blocked.elapsed() < LONG, "the second worker gets no duplicate");
        for key in blocking {
            place.send(order(key)).await;
            duplicates += 1;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let runs = crew.ledger.runs();
    println!(
        "both threads blocked for {:.1?} with a lease of {LEASE:?}; {duplicates} duplicates, {} runs",
        blocked.elapsed(),
        runs.values().flatten().count()
    );
    assert!(runs.values().all(|runs| runs.len() == 1 && runs[0].process == first.id()), "{runs:?}");
    crew.ledger.go();
    crew.ledger.until("both done", LONG, |runs| process::done(runs) == 2).await;
    until("no backlog", LONG, || async { place.left().await == 0 }).await;
    first.terminate().await;
    second.terminate().await;
    for (key, runs) in crew.ledger.runs() {
        assert!(runs.len() == 1 && runs[0].end == End::Done, "{key}: {runs:?}");
    }
}

#[derive(Deserialize)]
struct Order {
    order_id: String,
}

fn message(topic: &str, number: usize) -> Outgoing {
    Outgoing::new(topic, format!(r#"{{"order_id":"order-{number}"}}"#))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Begin,
    Done,
    /// The future was dropped before it was done.
    Dropped,
}

/// The ends of each key's runs, with their attempts.
type Steps = BTreeMap<String, Vec<(Step, u32)>>;

/// The runs of this process; clones share them.
#[derive(Clone, Default)]
struct Ledger(Arc<Mutex<Steps>>);

impl Ledger {
    fn note(&self, key: &str, step: Step, attempt: Attempt) {
        self.0.lock().unwrap().entry(key.to_owned()).or_default().push((step, attempt.number()));
    }

    fn steps(&self) -> Steps {
        self.0.lock().unwrap().clone()
    }

    fn count(&self, wanted: Step) -> usize {
        self.0.lock().unwrap().values().flatten().filter(|(step, _)| *step == wanted).count()
    }
}

/// Notes how a run ends, also when it is dropped.
struct Running {
    ledger: Ledger,
    key: String,
    attempt: Attempt,
    end: Step,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.ledger.note(&self.key, self.end, self.attempt);
    }
}

/// How long a run works.
#[derive(Clone, Copy)]
struct Work(Duration);

async fn work(order: Order, State(ledger): State<Ledger>, State(work): State<Work>, attempt: Attempt) {
    ledger.note(&order.order_id, Step::Begin, attempt);
    let mut running = Running { ledger, key: order.order_id, attempt, end: Step::Dropped };
    tokio::time::sleep(work.0).await;
    running.end = Step::Done;
}

/// One consumer in this process, a place and a Redis.
struct Scene {
    consumer: RunningConsumer,
    ledger: Ledger,
    redis: Redis,
    place: Place,
}

impl Scene {
    async fn start(work_for: Duration) -> Self {
        let (place, redis) = (Place::plain(8).await, Redis::start().await);
        let ledger = Ledger::default();
        let route = handler(&place.topic, work).key(|order| order.order_id.clone());
        let consumer = place
            .consumer()
            .store(RedisStore::connect(redis.url()).await.unwrap())
            .state(ledger.clone())
            .state(Work(work_for))
            .handlers([route.lease(LEASE).concurrency(32)]);
        let consumer = consumer.start().await.unwrap();
        Self { consumer, ledger, redis, place }
    }

    async fn until_done(&self, count: usize) {
        until("keys done", LONG, || async { self.ledger.count(Step::Done) >= count }).await;
    }

    /// The store is away for so long, while messages keep coming.
    async fn stands_still(&self, outage: Duration) {
        let begun = Instant::now();
        // A message that was claimed before may still begin, but not later than its lease allows.
        tokio::time::sleep(LEASE).await;
        let before = self.ledger.count(Step::Begin);
        tokio::time::sleep(outage.saturating_sub(begun.elapsed())).await;
        assert_eq!(self.ledger.count(Step::Begin), before, "a handler began while the store was away");
        assert_eq!(self.ledger.count(Step::Done), before, "a run was cut short");
        let held = self.place.backlog().await;
        println!("{:.1?} without the store: {before} keys done, {held} messages held", begun.elapsed());
        assert!(held > 0, "nothing was sent meanwhile");
        self.nothing_was_sent_back().await;
    }

    async fn nothing_was_sent_back(&self) {
        let (retries, letters) = (self.place.retries().await, self.place.dead_letters().await);
        for copies in [retries, self.place.delayed().await, letters] {
            let why: Vec<_> = copies.iter().map(|copy| note(copy, "IDEM_OUTCOME")).collect();
            assert!(why.is_empty(), "{why:?}");
        }
    }

    /// After the outage: everything is handled, once, without anybody's help.
    async fn goes_on(self, load: Load) {
        let back = Instant::now();
        let before = self.ledger.count(Step::Done);
        self.until_done(before + 1).await;
        let first = back.elapsed();
        let (keys, messages) = load.stop().await;
        self.until_done(keys).await;
        println!(
            "{keys} keys, {messages} messages: goes on after {first:.1?}, all done after {:.1?}",
            back.elapsed()
        );
        until("no backlog", LONG, || async { self.place.left().await == 0 }).await;
        let steps = self.ledger.steps();
        assert_eq!(steps.len(), keys);
        for (key, steps) in steps {
            assert_eq!(steps, [(Step::Begin, 1), (Step::Done, 1)], "{key}");
        }
        self.nothing_was_sent_back().await;
        self.end().await;
    }

    /// Invariant 5, seen from outside: what the group has acked is done, or the broker has a copy of it.
    async fn nothing_is_acked_that_was_not_done(&self, sent: usize) {
        let left = usize::try_from(self.place.backlog().await).unwrap();
        let copies = self.place.delayed().await.len();
        let done = self.ledger.count(Step::Done);
        assert!(sent - left <= done + copies, "{} acked, {done} done, {copies} copies", sent - left);
    }

    fn load(&self) -> Load {
        Load::start(self.place.bench.producer(), self.place.topic.clone())
    }

    async fn end(self) {
        self.consumer.shutdown().await;
    }
}

/// Work for some seconds, so that the store goes away in the middle of it.
const BURST: usize = 2_000;

/// Many messages at once, and then some that keep coming, 64 a second. A third of the keys comes twice.
struct Load {
    stop: oneshot::Sender<()>,
    sending: JoinHandle<(usize, usize)>,
}

impl Load {
    fn start(producer: embedded::Producer, topic: String) -> Self {
        let (stop, mut stopped) = oneshot::channel();
        let sending = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(Duration::from_millis(250));
            let (mut keys, mut messages) = (BURST, BURST);
            let message = |number| message(&topic, number);
            confirmed(&producer, (0..BURST).map(message).collect()).await;
            while stopped.try_recv().is_err() {
                ticks.tick().await;
                let mut batch: Vec<Outgoing> = (keys..keys + 12).map(message).collect();
                // Some of this batch and some of the one before, which went to another queue.
                batch.extend([keys, keys + 1, keys.saturating_sub(2), keys.saturating_sub(1)].map(message));
                (keys, messages) = (keys + 12, messages + batch.len());
                confirmed(&producer, batch).await;
            }
            (keys, messages)
        });
        Self { stop, sending }
    }

    /// How many keys and messages there were.
    async fn stop(self) -> (usize, usize) {
        let _ = self.stop.send(());
        self.sending.await.unwrap()
    }
}

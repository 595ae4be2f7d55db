//! A member dies or is shut down in the middle of its work, and comes back.
//!
//! Run alone: `cargo test --workspace --all-features --test e2e -- members::crash::`

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use idem_core::store::Store as _;
use idem_core::{IdempotencyKey, Namespace, RecordKey, RedisStore, State};
use idem_rocketmq::embedded::Outgoing;

use crate::support::kit::until;
use crate::support::place::Place;
use crate::support::process::{Crew, End, Ledger, Redis, Runs, Worker, done, ran_twice, work};

const ORDERS: usize = 2_000;
/// The workers' lease.
const LEASE: Duration = Duration::from_secs(3);
const LONG: Duration = Duration::from_mins(2);

/// One worker of two ends without a word, and another one takes its place.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_repeats_only_what_it_had_in_flight() {
    let mut scene = Scene::at(Place::plain(8).await).await;
    scene.work_until_halfway().await;
    let victim = scene.first.id();
    scene.first.kill();
    let in_flight = scene.in_flight(victim).await;
    scene.first = scene.worker("first");
    let runs = scene.finish().await;
    let repeated = repeated(&runs);
    println!("killed: {} keys in flight, {} keys repeated", in_flight.len(), repeated.len());
    let surprising: Vec<_> = repeated.difference(&in_flight).map(|key| (key, &runs[key])).collect();
    assert!(surprising.is_empty(), "ran twice without having been in flight: {surprising:?}");
}

/// One worker of two is told to end, and another one takes its place.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_shut_down_repeats_nothing() {
    let mut scene = Scene::at(Place::levels(8).await).await;
    scene.work_until_halfway().await;
    let stopped = scene.first.id();
    scene.first.terminate().await;
    let runs = scene.ledger().runs();
    let cut: Vec<_> = runs.iter().filter(|(_, runs)| open_in(runs, stopped)).collect();
    assert!(cut.is_empty(), "not let finish: {cut:?}");
    scene.first = scene.worker("first");
    let repeated = repeated(&scene.finish().await);
    println!("shut down: {} keys repeated", repeated.len());
    assert!(repeated.is_empty(), "ran twice: {repeated:?}");
}

/// Only a member that cannot record a completion before its lease ends repeats work.
#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_the_store_repeats_only_what_was_not_recorded() {
    let mut scene = Scene::at(Place::plain(8).await).await;
    scene.work_until_halfway().await;
    scene.redis.kill();
    tokio::time::sleep(LEASE).await;
    let begun = scene.ledger().runs();
    tokio::time::sleep(LEASE).await;
    assert_eq!(scene.ledger().runs(), begun, "something ran while the store was away");
    let unrecorded = scene.unrecorded().await;
    scene.redis.restart().await;
    let runs = scene.finish().await;
    let repeated = repeated(&runs);
    println!("outage: {} completions not recorded, {} keys repeated", unrecorded.len(), repeated.len());
    let surprising: Vec<_> = repeated.difference(&unrecorded).map(|key| (key, &runs[key])).collect();
    assert!(surprising.is_empty(), "ran twice although it had been recorded: {surprising:?}");
}

/// A place, a Redis and two workers.
struct Scene {
    // Workers end first.
    first: Worker,
    second: Worker,
    crew: Crew,
    keys: BTreeSet<String>,
    begun: Instant,
    store: RedisStore,
    redis: Redis,
    place: Place,
}

impl Scene {
    /// Each worker has run something then.
    async fn at(place: Place) -> Self {
        let redis = Redis::start().await;
        let crew = Crew::of(&place, &redis);
        let store = RedisStore::connect(redis.url()).await.unwrap();
        let (first, second) = (Worker::start(&crew, "first", 2), Worker::start(&crew, "second", 2));
        let (keys, begun) = (BTreeSet::new(), Instant::now());
        let mut scene = Self { first, second, crew, keys, begun, store, redis, place };
        scene.warm_up().await;
        scene.begun = Instant::now();
        scene
    }

    fn worker(&self, instance: &str) -> Worker {
        Worker::start(&self.crew, instance, 2)
    }

    fn ledger(&self) -> &Ledger {
        &self.crew.ledger
    }

    /// Sends orders until both workers have their queues.
    async fn warm_up(&mut self) {
        let deadline = Instant::now() + LONG;
        for number in 0.. {
            let processes = processes(&self.ledger().runs());
            if processes.len() == 2 {
                return;
            }
            assert!(Instant::now() < deadline, "one worker gets nothing: {processes:?}");
            let key = format!("early-{number}");
            self.place.send(self.message(&key, number)).await;
            self.keys.insert(key);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Sends everything, and waits until half of it is done and the first worker is in the middle of some more.
    async fn work_until_halfway(&mut self) {
        let messages = self.messages();
        println!("{ORDERS} orders in {} messages", messages.len());
        self.keys.extend((0..ORDERS).map(key));
        self.place.send_all(messages).await;
        let (first, early) = (self.first.id(), self.keys.len() - ORDERS);
        let half =
            |runs: &Runs| done(runs) > early + ORDERS / 2 && runs.values().any(|runs| open_in(runs, first));
        self.ledger().until("half of the work", LONG, half).await;
    }

    /// The keys that the dead process has begun, and neither recorded as completed nor reported as failed.
    ///
    /// All records are read at one time: when the leases have ended, another process completes them.
    async fn in_flight(&self, process: u32) -> BTreeSet<String> {
        let ended = self.ledger().runs().into_iter().filter_map(|(key, runs)| {
            let last = runs.iter().rfind(|run| run.process == process)?;
            Some((key, last.end))
        });
        let unrecorded = ended.map(|(key, end)| async move {
            let is_open =
                end == End::Open || (end == End::Done && !self.is_completed(&self.store, &key).await);
            is_open.then_some(key)
        });
        join_all(unrecorded).await.into_iter().flatten().collect()
    }

    /// The keys that have run and that the dead store's disk does not show as completed.
    async fn unrecorded(&self) -> BTreeSet<String> {
        let twin = self.redis.twin().await;
        let store = RedisStore::connect(twin.url()).await.unwrap();
        let mut unrecorded = BTreeSet::new();
        for (key, runs) in self.ledger().runs() {
            let has_failed = runs.last().is_some_and(|run| run.end == End::Failed);
            if !has_failed && !self.is_completed(&store, &key).await {
                unrecorded.insert(key);
            }
        }
        unrecorded
    }

    /// Waits for the end of all work, and looks at what must be so however it came about.
    async fn finish(&mut self) -> Runs {
        let expected = self.keys.len();
        self.ledger().until("all keys done", LONG, |runs| done(runs) == expected).await;
        until("nothing left to deliver", LONG, || async { self.place.left().await == 0 }).await;
        let took = self.begun.elapsed();
        self.first.terminate().await;
        self.second.terminate().await;
        let runs = self.ledger().runs();
        for (process, count) in processes(&runs) {
            println!("process {process} ran handlers {count} times");
        }
        let failed = runs.values().flatten().filter(|run| run.end == End::Failed).count();
        println!("{} keys done after {took:.1?}, {failed} attempts failed", runs.len());
        assert_eq!(runs.keys().cloned().collect::<BTreeSet<_>>(), self.keys);
        for key in &self.keys {
            assert!(self.is_completed(&self.store, key).await, "{key} is done and not recorded");
        }
        assert_eq!(self.place.dead_letters().await, []);
        assert_eq!(self.place.left().await, 0);
        runs
    }

    async fn is_completed(&self, store: &RedisStore, key: &str) -> bool {
        let namespace = Namespace::new(["", &self.place.group, "scope", "orders"]);
        let key = RecordKey::new(namespace, IdempotencyKey::new(key).unwrap());
        let record = store.read(&key).await.unwrap();
        record.is_some_and(|record| record.state == State::Completed)
    }

    /// Every third order is sent twice or three times: a copy right behind, or many messages later, or both.
    fn messages(&self) -> Vec<Outgoing> {
        let (mut messages, mut late) = (Vec::new(), Vec::new());
        for number in 0..ORDERS {
            let message = self.message(&key(number), number);
            messages.push(message.clone());
            match number % 6 {
                0 => late.push(message),
                3 => {
                    messages.push(message.clone());
                    late.push(message);
                }
                _ => {}
            }
        }
        messages.extend(late);
        messages
    }

    /// Runs take 20 to 60 ms; of every eleven orders, two fail once and one fails twice.
    fn message(&self, key: &str, number: usize) -> Outgoing {
        let millis = 20 + number * 13 % 40;
        let fails = [1, 0, 0, 2, 0, 0, 1, 0, 0, 0, 0][number % 11];
        work(&self.place.topic, key, millis, fails, false)
    }
}

fn key(number: usize) -> String {
    format!("order-{number}")
}

fn processes(runs: &Runs) -> BTreeMap<u32, usize> {
    let mut processes = BTreeMap::new();
    for run in runs.values().flatten() {
        *processes.entry(run.process).or_default() += 1;
    }
    processes
}

fn open_in(runs: &[crate::support::process::Run], process: u32) -> bool {
    runs.iter().any(|run| run.process == process && run.end == End::Open)
}

fn repeated(runs: &Runs) -> BTreeSet<String> {
    runs.iter().filter(|(_, runs)| ran_twice(runs)).map(|(key, _)| key.clone()).collect()
}

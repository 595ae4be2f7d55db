//! A member of the group dies, or is shut down, in the middle of the work, and comes back.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use idem_core::store::Store as _;
use idem_core::{IdempotencyKey, Namespace, RecordKey, RedisStore, State};
use idem_rocketmq::embedded::{Bench, EmbeddedBroker, Outgoing};

use crate::kit::until;
use crate::process::{End, Ledger, Place, Redis, Runs, Worker, done, ran_twice};

const ORDERS: usize = 2_000;
/// The workers' lease.
const LEASE: Duration = Duration::from_secs(3);
const LONG: Duration = Duration::from_mins(2);

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_repeats_only_what_it_had_in_flight() {
    a_worker_is_killed(Scene::start().await).await;
}

/// One worker of two ends without a word, and another one takes its place.
pub(crate) async fn a_worker_is_killed(mut scene: Scene) {
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

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_shut_down_repeats_nothing() {
    a_worker_is_shut_down(Scene::start().await).await;
}

/// One worker of two is told to end, and another one takes its place.
pub(crate) async fn a_worker_is_shut_down(mut scene: Scene) {
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

/// What the promise excepts, and nothing else: a member that could not record a completion before its lease ended.
#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_the_store_repeats_only_what_was_not_recorded() {
    let mut scene = Scene::start().await;
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

/// A broker, a Redis and two workers.
pub(crate) struct Scene {
    // Workers end first.
    first: Worker,
    second: Worker,
    place: Place,
    keys: BTreeSet<String>,
    begun: Instant,
    store: RedisStore,
    redis: Redis,
    broker: Bench,
    _host: Option<EmbeddedBroker>,
}

impl Scene {
    async fn start() -> Self {
        let levels = "1s 3s 5s 5s 5s 5s 5s 5s 5s 5s 5s 5s 5s 5s 5s 5s 5s 5s";
        let broker = EmbeddedBroker::builder().topic("orders", 8).message_delay_levels(levels);
        let host = broker.start().await.unwrap();
        Self::at(host.bench(), Some(host), "orders", "warehouse").await
    }

    /// Each worker has run something then.
    pub(crate) async fn at(broker: Bench, host: Option<EmbeddedBroker>, topic: &str, group: &str) -> Self {
        let redis = Redis::start().await;
        let ledger = Ledger::new();
        let (name_server, topic, group) =
            (broker.name_server().to_owned(), topic.to_owned(), group.to_owned());
        let place = Place { name_server, topic, redis: redis.url(), group, ledger };
        let store = RedisStore::connect(redis.url()).await.unwrap();
        let (first, second) = (Worker::start(&place, "first", 2), Worker::start(&place, "second", 2));
        let (keys, begun) = (BTreeSet::new(), Instant::now());
        let mut scene = Self { first, second, place, keys, begun, store, redis, broker, _host: host };
        scene.warm_up().await;
        scene.begun = Instant::now();
        scene
    }

    fn worker(&self, instance: &str) -> Worker {
        Worker::start(&self.place, instance, 2)
    }

    fn ledger(&self) -> &Ledger {
        &self.place.ledger
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
            self.broker.producer().send(self.message(&key, number)).await.unwrap();
            self.keys.insert(key);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Sends everything, and waits until half of it is done and the first worker is in the middle of some more.
    async fn work_until_halfway(&mut self) {
        let messages = self.messages();
        println!("{ORDERS} orders in {} messages", messages.len());
        self.keys.extend((0..ORDERS).map(key));
        self.broker.producer().send_all(messages).await.unwrap();
        let (first, early) = (self.first.id(), self.keys.len() - ORDERS);
        let half =
            |runs: &Runs| done(runs) > early + ORDERS / 2 && runs.values().any(|runs| open_in(runs, first));
        self.ledger().until("half of the work", LONG, half).await;
    }

    /// What the dead process has begun, and has not recorded as completed or said that it failed.
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

    /// What has run, and is not completed by what the dead store has on its disk.
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
        until("nothing left to deliver", LONG, || async { self.left().await == 0 }).await;
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
        assert_eq!(self.broker.read_all(&format!("%DLQ%{}", self.place.group)).await.unwrap(), []);
        assert_eq!(self.left().await, 0);
        runs
    }

    /// Messages that the group has not acked, also those that a delay still hides from it.
    ///
    /// A message goes from its topic to the delay and from there to the retry topic, so the questions are asked in
    /// an order in which none can slip through between two of them.
    async fn left(&self) -> u64 {
        let group = &self.place.group;
        let retries = format!("%RETRY%{group}");
        let delivered = self.broker.read_all(&retries).await.unwrap().len();
        let orders = self.broker.backlog(group, &self.place.topic).await.unwrap();
        let again = self.broker.backlog(group, &retries).await.unwrap();
        let delayed = self.delayed(&retries).await;
        let hidden = delayed.checked_sub(delivered).expect("what is delivered again was delayed");
        orders + again + u64::try_from(hidden).unwrap()
    }

    /// All that was ever delayed by level or by timer on its way to a topic.
    async fn delayed(&self, topic: &str) -> usize {
        let mut count = 0;
        for delays in ["SCHEDULE_TOPIC_XXXX", "rmq_sys_wheel_timer"] {
            let delayed = self.broker.read_all(delays).await.unwrap();
            count += delayed.iter().filter(|message| message.property("REAL_TOPIC") == Some(topic)).count();
        }
        count
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
        let body = format!(r#"{{"id":"{key}","millis":{millis},"fails":{fails},"blocks":false}}"#);
        Outgoing::new(&self.place.topic, body)
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

fn open_in(runs: &[crate::process::Run], process: u32) -> bool {
    runs.iter().any(|run| run.process == process && run.end == End::Open)
}

fn repeated(runs: &Runs) -> BTreeSet<String> {
    runs.iter().filter(|(_, runs)| ran_twice(runs)).map(|(key, _)| key.clone()).collect()
}

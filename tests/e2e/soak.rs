//! Every kind of load of Apache's producers at once, as fast as the members get through it, while they come, go, are killed and
//! stand still: each message is handled, and none twice but what the promise excepts.
//!
//! One group works under leases in Redis, another one in transactions on PostgreSQL, on the same messages. 30 s are part of the
//! suite, at a pace that leaves something of the machine to other tests; `IDEM_TEST_SOAK_SECONDS=600` makes it ten minutes at
//! full speed.
//!
//! Run alone: `cargo test --workspace --all-features --test e2e -- soak::`

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use idem_rocketmq::PostgresStore;
use sqlx::Executor as _;

use crate::support::database::Database;
use crate::support::kit;
use crate::support::log::secs;
use crate::support::place::Place;
use crate::support::process::Redis;
use crate::support::servers::{self, Server};
use crate::support::soak::crew::Crew;
use crate::support::soak::ledger::Ledger;
use crate::support::soak::load::{Load, Told};

/// Where Apache's broker puts half messages that it has asked for often enough.
const GIVEN_UP: &str = "TRANS_CHECK_MAX_TIME_TOPIC";
/// So many messages wait for the slower group at most: it always has work, and the end does not take longer than the rest.
const BACKLOG: usize = 3_000;
/// So many messages of each kind at a time, in the suite and at full speed.
const PORTIONS: (usize, usize) = (12, 50);
const BETWEEN_LOOKS: Duration = Duration::from_millis(200);
const BETWEEN_TOOLS: Duration = secs(4);

/// How long it takes, and how many messages are sent at a time.
fn settings() -> (Duration, usize) {
    match std::env::var("IDEM_TEST_SOAK_SECONDS") {
        Ok(text) => (secs(text.parse().expect("a number")), PORTIONS.1),
        Err(_) => (secs(30), PORTIONS.0),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_load_is_handled_once_while_members_come_and_go() {
    let place = Place::levels(8).await;
    let redis = Redis::start().await;
    let database = Database::serve("postgres", "IDEM_TEST_POSTGRES_URL");
    PostgresStore::builder(&database.url).migrate().await.unwrap();
    let effects = "CREATE TABLE effects (number bigserial PRIMARY KEY, id varchar(80) NOT NULL)";
    database.session().await.execute(effects).await.unwrap();
    let leases = Crew::new(&place, "leases", &redis.url());
    let transactions = Crew::new(&place, "transactions", &database.url);
    let scene = Scene { leases, transactions, database, place };
    let (time, portion) = settings();
    scene.play(time, portion).await;
}

struct Scene {
    // Workers end first.
    leases: Crew,
    transactions: Crew,
    database: Database,
    place: Place,
}

impl Scene {
    async fn play(mut self, time: Duration, portion: usize) {
        let begun = Instant::now();
        let mut load = Load::start(&self.place.topic).await;
        let tools = Tools::start(&self.place.topic, time);
        let mut ledger = self.leases.ledger();
        while begun.elapsed() < time {
            ledger.read();
            let behind = ledger.done().min(self.effects().await);
            if load.told().all().saturating_sub(behind) < BACKLOG {
                load.more(portion);
            }
            self.leases.stir().await;
            self.transactions.stir().await;
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
        load.end().await;
        let mut told = load.told();
        told.sent.extend(tools.end().await);
        let sending = begun.elapsed();
        println!("sent for {sending:.1?}: {:?}, not to be handled: {}", kinds(&told), told.undone.len());
        self.leases.settle().await;
        self.transactions.settle().await;
        self.until_handled(&told, &mut ledger, time).await;
        println!("handled after {:.1?} more", begun.elapsed().saturating_sub(sending));
        self.until_nothing_is_left(time).await;
        self.leases.disband().await;
        self.transactions.disband().await;
        drop(load);
        ledger.read();
        ledger.assert_once(&told, &self.leases.cuts());
        self.assert_once_in_the_database(&told).await;
        self.assert_no_dead_letters().await;
    }

    /// How many effects there are, about: numbers of transactions that were rolled back are gone.
    async fn effects(&self) -> usize {
        usize::try_from(self.database.number("SELECT coalesce(max(number), 0) FROM effects").await)
            .unwrap_or(0)
    }

    async fn until_handled(&self, told: &Told, ledger: &mut Ledger, time: Duration) {
        let deadline = Instant::now() + secs(180) + time;
        loop {
            ledger.read();
            let (leased, kept) = (ledger.missing(told), told.missing_in(&self.handled().await));
            if leased.is_empty() && kept.is_empty() {
                return;
            }
            if Instant::now() > deadline {
                let half = self.place.bench.read_all(GIVEN_UP).await.unwrap_or_default();
                println!("half messages that the broker has given up: {}", half.len());
                let (under_leases, in_transactions) = (some(&leased), some(&kept));
                panic!("lost: {under_leases} under leases, {in_transactions} in transactions");
            }
            tokio::time::sleep(secs(1)).await;
        }
    }

    async fn handled(&self) -> BTreeMap<String, i64> {
        let mut session = self.database.session().await;
        let rows = sqlx::query_as("SELECT id, count(*) FROM effects GROUP BY id");
        rows.fetch_all(&mut session).await.unwrap().into_iter().collect()
    }

    /// Second copies may be on their way still.
    async fn until_nothing_is_left(&self, time: Duration) {
        let topics = |group: &str| [self.place.topic.clone(), format!("%RETRY%{group}")];
        let left = async || {
            let mut left = 0;
            for group in [self.leases.group(), self.transactions.group()] {
                for topic in topics(group) {
                    left += self.place.bench.backlog(group, &topic).await.unwrap();
                }
            }
            left
        };
        kit::until("nothing left to deliver", secs(120) + time, async || left().await == 0).await;
    }

    async fn assert_once_in_the_database(&self, told: &Told) {
        let handled = self.handled().await;
        let twice: Vec<_> = handled.iter().filter(|(_, times)| **times > 1).collect();
        assert!(twice.is_empty(), "transactions, there more than once: {twice:?}");
        let undone: Vec<_> = handled.keys().filter(|key| told.undone.contains(*key)).collect();
        assert!(undone.is_empty(), "transactions, handled although it was rolled back: {undone:?}");
        let invented: Vec<_> = handled.keys().filter(|key| !told.may_be(key)).collect();
        assert!(invented.is_empty(), "transactions, handled and never sent: {invented:?}");
        println!("in transactions: {} keys, each once; members: {}", handled.len(), self.transactions.told());
    }

    async fn assert_no_dead_letters(&self) {
        println!("under leases: members: {}", self.leases.told());
        for group in [self.leases.group(), self.transactions.group()] {
            let letters = self.place.bench.read_all(&format!("%DLQ%{group}")).await.unwrap();
            let why: Vec<_> = letters.iter().map(kit::why).collect();
            assert!(why.is_empty(), "dead letters of {group}: {why:?}");
        }
    }
}

/// Some of them, by kind: how many, and the first ones.
fn some(keys: &[&String]) -> String {
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    for key in keys {
        *kinds.entry(kind(key)).or_default() += 1;
    }
    format!("{kinds:?} such as {:?}", &keys[..keys.len().min(5)])
}

fn kind(key: &str) -> &str {
    key.split('-').next().unwrap_or_default()
}

fn kinds(told: &Told) -> BTreeMap<&str, usize> {
    let mut kinds = BTreeMap::new();
    for key in &told.sent {
        *kinds.entry(kind(key)).or_default() += 1;
    }
    assert_eq!(kinds.len(), 7, "not each kind was sent: {kinds:?}");
    kinds
}

/// Sends now and then as an operator does, with `mqadmin sendMessage`.
struct Tools(tokio::task::JoinHandle<Vec<String>>);

impl Tools {
    fn start(topic: &str, time: Duration) -> Self {
        let (topic, until) = (topic.to_owned(), Instant::now() + time);
        Self(tokio::task::spawn_blocking(move || {
            let mut sent = Vec::new();
            while Instant::now() < until {
                let key = format!("mqadmin-{}", sent.len());
                servers::send(Server::Levels, &topic, &key);
                sent.push(key);
                std::thread::sleep(BETWEEN_TOOLS);
            }
            sent
        }))
    }

    async fn end(self) -> Vec<String> {
        self.0.await.unwrap()
    }
}

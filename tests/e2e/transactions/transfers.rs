//! Money from account to account, while consumers and the database are killed: the sum is right in the end, and each transfer is
//! there once.
//!
//! `IDEM_TEST_KILLS=100` kills more often than the suite has time for.
//!
//! Run alone: `cargo test --workspace --all-features --test e2e -- transactions::transfers::`

use std::collections::BTreeMap;
use std::time::Duration;

use idem_rocketmq::embedded::Outgoing;
use idem_rocketmq::{MySqlStore, PostgresStore};
use rand::seq::SliceRandom as _;
use sqlx::{AssertSqlSafe, Executor as _};

use crate::support::database::{Database, kills};
use crate::support::kit::{self, until_equal};
use crate::support::place::Place;
use crate::support::process::Worker;

const TRANSFERS: usize = 1_000;
const ACCOUNTS: i64 = 50;
const AT_FIRST: i64 = 1_000_000;
const WORKERS: usize = 2;
const DEADLINE: Duration = Duration::from_mins(5);

struct Transfer {
    id: usize,
    from: i64,
    to: i64,
    cents: i64,
}

fn transfers() -> Vec<Transfer> {
    let account = || rand::random_range(0..ACCOUNTS);
    let transfer = |id| Transfer { id, from: account(), to: account(), cents: rand::random_range(1..500) };
    (0..TRANSFERS).map(transfer).collect()
}

async fn create_tables(database: &Database) {
    let mut session = database.session().await;
    for sql in [
        "CREATE TABLE accounts (id bigint PRIMARY KEY, cents bigint NOT NULL)",
        "CREATE TABLE transfers (id varchar(20) NOT NULL)",
    ] {
        session.execute(sql).await.unwrap();
    }
    for id in 0..ACCOUNTS {
        let account = format!("INSERT INTO accounts VALUES ({id}, {AT_FIRST})");
        session.execute(AssertSqlSafe(account)).await.unwrap();
    }
}

/// Sends the transfers in portions, each one to three times; kills a worker after each portion, and the database now and then.
async fn storm(database: Database) {
    create_tables(&database).await;
    let place = Place::levels(4).await;
    let logs = tempfile::tempdir().unwrap();
    let start = |instance: usize| {
        let log = logs.path().join("log");
        let name = format!("teller-{instance}");
        let arguments = ["transfers", place.name_server(), &place.topic, &database.url, &place.group, &name];
        Worker::run(&arguments, &log)
    };
    let mut workers: Vec<Worker> = (0..WORKERS).map(start).collect();
    let transfers = transfers();
    let kills = kills();
    let crashes = if database.can_crash() { 5.min(kills / 3) } else { 0 };
    for (turn, portion) in transfers.chunks(TRANSFERS.div_ceil(kills)).enumerate() {
        let mut messages: Vec<Outgoing> =
            portion.iter().flat_map(|transfer| copies(&place.topic, transfer)).collect();
        messages.shuffle(&mut rand::rng());
        place.send_all(messages).await;
        tokio::time::sleep(Duration::from_millis(rand::random_range(100..900))).await;
        if crashes > 0 && turn % (kills / crashes) == 1 {
            database.crash();
        }
        let instance = rand::random_range(0..WORKERS);
        workers[instance].kill();
        workers[instance] = start(instance);
    }
    let there = async || {
        let number = database.number("SELECT count(DISTINCT id) FROM transfers").await;
        usize::try_from(number).unwrap_or(usize::MAX)
    };
    until_equal("transfers", TRANSFERS, DEADLINE, there).await;
    // The rest are duplicates, which must change nothing.
    kit::until("nothing left to deliver", DEADLINE, async || place.left().await == 0).await;
    let mut session = database.session().await;
    let rows: i64 =
        sqlx::query_scalar("SELECT count(*) FROM transfers").fetch_one(&mut session).await.unwrap();
    assert_eq!(rows, i64::try_from(TRANSFERS).unwrap(), "a transfer is there twice");
    let accounts: Vec<(i64, i64)> =
        sqlx::query_as("SELECT id, cents FROM accounts").fetch_all(&mut session).await.unwrap();
    assert_eq!(accounts.into_iter().collect::<BTreeMap<_, _>>(), expected(&transfers));
    for mut worker in workers {
        worker.terminate().await;
    }
    assert!(place.dead_letters().await.is_empty());
}

fn copies(topic: &str, transfer: &Transfer) -> Vec<Outgoing> {
    let Transfer { id, from, to, cents } = transfer;
    let body = format!(r#"{{"id":"{id}","from":{from},"to":{to},"cents":{cents}}}"#);
    (0..rand::random_range(1..=3)).map(|_| Outgoing::new(topic, body.clone())).collect()
}

fn expected(transfers: &[Transfer]) -> BTreeMap<i64, i64> {
    let mut accounts: BTreeMap<i64, i64> = (0..ACCOUNTS).map(|id| (id, AT_FIRST)).collect();
    for transfer in transfers {
        *accounts.get_mut(&transfer.from).unwrap() -= transfer.cents;
        *accounts.get_mut(&transfer.to).unwrap() += transfer.cents;
    }
    accounts
}

#[tokio::test(flavor = "multi_thread")]
async fn each_transfer_is_there_once_on_postgres() {
    let database = Database::serve("postgres", "IDEM_TEST_POSTGRES_URL");
    PostgresStore::builder(&database.url).migrate().await.unwrap();
    storm(database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_transfer_is_there_once_on_mariadb() {
    let database = Database::serve("mariadb", "IDEM_TEST_MYSQL_URL");
    MySqlStore::builder(&database.url).migrate().await.unwrap();
    storm(database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_transfer_is_there_once_on_sqlite() {
    storm(Database::file()).await;
}

//! A shop that stores and announces orders, while its processes are killed at any moment, and while it and its database are
//! away for longer than the broker asks: in the end every order has its message, and every message its order.
//!
//! `IDEM_TEST_KILLS=100` kills more often than the suite has time for.
//!
//! Run alone: `cargo test --workspace --all-features --test e2e -- producer::outbox_storm::`

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use idem_rocketmq::codec::Bytes;
use idem_rocketmq::outbox::{
    BeginOutcome, MySqlOutbox, Outbox, OutboxMessage, PostgresOutbox, SqliteOutbox, TransactionId,
    TypedOutbox,
};
use idem_rocketmq::prelude::*;
use sqlx::Executor as _;

use crate::support::database::{Database, kills};
use crate::support::kit::{self, until};
use crate::support::place::Place;
use crate::support::process::Worker;
use crate::support::servers::prepare;

const DEADLINE: Duration = Duration::from_mins(3);
const RESEND_AFTER: Duration = Duration::from_secs(3);
const SWEEP_EVERY: Duration = Duration::from_millis(500);
/// Where Apache's broker puts what it has asked for often enough (`TRANS_CHECK_MAX_TIME_TOPIC`).
const GIVEN_UP: &str = "TRANS_CHECK_MAX_TIME_TOPIC";

async fn create_orders(database: &Database) {
    database.session().await.execute("CREATE TABLE orders (id varchar(80) PRIMARY KEY)").await.unwrap();
}

/// None while the database does not answer.
async fn texts(database: &Database, sql: &'static str) -> Option<BTreeSet<String>> {
    let mut session = database.try_session().await?;
    let rows = sqlx::query_scalar::<_, String>(sql).fetch_all(&mut session).await.ok()?;
    Some(rows.into_iter().collect())
}

/// How many markers wait for their message to be confirmed.
async fn unconfirmed(database: &Database) -> i64 {
    database.number("SELECT count(*) FROM idem_outbox WHERE state = 1").await
}

async fn sent(place: &Place) -> Vec<String> {
    let messages = place.bench.read_all(&place.topic).await.unwrap_or_default();
    messages.iter().map(|message| message.property("KEYS").unwrap_or_default().to_owned()).collect()
}

/// A member that answers and sweeps, and sells nothing.
async fn clerk<O: TypedOutbox>(place: &Place, outbox: O) -> Producer<O> {
    Producer::builder(&place.group).name_server(place.name_server()).outbox(outbox).start().await.unwrap()
}

/// How many seconds pass before the broker asks for an order that nobody has announced.
const AS_IT_COMES: &str = "0";

/// A member that sells, and dies at this step of the protocol.
fn seller(
    place: &Place,
    database: &Database,
    name: &str,
    step: &str,
    asked_after: &str,
    log: &Path,
) -> Worker {
    let (url, group) = (&database.url, &place.group);
    Worker::run(&["orders", place.name_server(), &place.topic, url, group, name, step, asked_after], log)
}

/// Workers that sell are killed at random moments; some kill themselves in the middle of a transaction.
async fn storm<O: TypedOutbox>(database: &Database, outbox: O) {
    let place = Place::levels(4).await;
    create_orders(database).await;
    let logs = tempfile::tempdir().unwrap();
    let log = logs.path().join("log");
    let orders = async || texts(database, "SELECT id FROM orders").await.map_or(0, |orders| orders.len());
    for turn in 0..kills() {
        let before = orders().await;
        let name = format!("seller-{turn}");
        let mut worker = seller(&place, database, &name, "any", AS_IT_COMES, &log);
        // It sells, or has killed itself.
        until("an order", DEADLINE, async || orders().await > before || worker.has_ended()).await;
        tokio::time::sleep(Duration::from_millis(rand::random_range(0..800))).await;
        worker.kill();
    }
    let clerk = clerk(&place, outbox).await;
    until("all are confirmed", DEADLINE, async || unconfirmed(database).await == 0).await;
    agree(&place, database).await;
    clerk.shutdown().await;
    let log = std::fs::read_to_string(&log).unwrap_or_default();
    assert!(!log.contains("is no outbox"), "{log}");
}

/// Each order has a message, and each message its order.
async fn agree(place: &Place, database: &Database) {
    let orders = texts(database, "SELECT id FROM orders").await.unwrap();
    let all = sent(place).await;
    let distinct: BTreeSet<_> = all.iter().cloned().collect();
    let lost: Vec<_> = orders.difference(&distinct).collect();
    let invented: Vec<_> = distinct.difference(&orders).collect();
    assert!(lost.is_empty() && invented.is_empty(), "lost {lost:?}, invented {invented:?}");
    assert!(!orders.is_empty());
    println!("{} orders, {} messages", orders.len(), all.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_and_messages_agree_while_sellers_are_killed_on_sqlite() {
    let database = Database::file();
    storm(&database, sqlite(&database).await).await;
}

/// A producer is killed between any two steps of the protocol, and the next one finds what it has left behind.
async fn steps<O: TypedOutbox>(
    place: &Place,
    database: &Database,
    outbox: O,
    steps: &[&str],
    asked_after: &str,
) {
    create_orders(database).await;
    let logs = tempfile::tempdir().unwrap();
    for step in steps {
        let log = logs.path().join(step);
        let worker = seller(place, database, step, step, asked_after, &log);
        until(&format!("death when {step}"), DEADLINE, async || worker.has_ended()).await;
        let log = std::fs::read_to_string(&log).unwrap();
        assert!(log.contains(&format!("dies: {step}")), "{log}");
    }
    let clerk = clerk(place, outbox).await;
    until("all are confirmed", DEADLINE, async || unconfirmed(database).await == 0).await;
    agree(place, database).await;
    clerk.shutdown().await;
}

/// The steps in their order, and those of an answer to the broker.
const STEPS: [&str; 8] = ["prepared", "begun", "worked", "committed", "told", "noted", "asked", "decided"];
/// The steps if the broker does not ask in time. The last one leaves something for the clerk.
const SWEPT: [&str; 5] = ["committed", "due", "sent-again", "noted-again", "committed"];

#[tokio::test(flavor = "multi_thread")]
async fn orders_and_messages_agree_after_a_kill_at_each_step_on_sqlite() {
    let database = Database::file();
    steps(&Place::levels(4).await, &database, sqlite(&database).await, &STEPS, AS_IT_COMES).await;
    let database = Database::file();
    steps(&Place::plain(4).await, &database, sqlite(&database).await, &SWEPT, "600").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_and_messages_agree_after_a_kill_at_each_step_on_postgres() {
    let database = Database::serve("postgres", "IDEM_TEST_POSTGRES_URL");
    steps(&Place::levels(4).await, &database, postgres(&database).await, &STEPS, AS_IT_COMES).await;
}

async fn sqlite(database: &Database) -> SqliteOutbox {
    let outbox = SqliteOutbox::builder(&database.url).resend_after(RESEND_AFTER).sweep_every(SWEEP_EVERY);
    outbox.open().await.unwrap()
}

async fn postgres(database: &Database) -> PostgresOutbox {
    let outbox = PostgresOutbox::builder(&database.url).resend_after(RESEND_AFTER).sweep_every(SWEEP_EVERY);
    outbox.migrate().await.unwrap();
    outbox.connect().await.unwrap()
}

async fn mariadb(database: &Database) -> MySqlOutbox {
    let outbox = MySqlOutbox::builder(&database.url).resend_after(RESEND_AFTER).sweep_every(SWEEP_EVERY);
    outbox.migrate().await.unwrap();
    outbox.connect().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_and_messages_agree_while_sellers_are_killed_on_postgres() {
    let database = Database::serve("postgres", "IDEM_TEST_POSTGRES_URL");
    storm(&database, postgres(&database).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_and_messages_agree_while_sellers_are_killed_on_mariadb() {
    let database = Database::serve("mariadb", "IDEM_TEST_MYSQL_URL");
    storm(&database, mariadb(&database).await).await;
}

/// The local work of a producer that dies before it tells its broker: the order is stored, or not.
async fn die(
    outbox: &dyn Outbox,
    topic: &str,
    id: &str,
    insert: Option<(&Database, String)>,
) -> TransactionId {
    let transaction = TransactionId::random();
    let message = OutboxMessage {
        id: transaction,
        topic: topic.to_owned(),
        tag: None,
        lookup_keys: Some(id.to_owned()),
        order_by: None,
        properties: vec![("IDEM_TRANSACTION".to_owned(), transaction.to_string())],
        body: Bytes::from_static(b"order"),
    };
    let Some((database, insert)) = insert else { return transaction };
    let key = IdempotencyKey::new(id).unwrap();
    let BeginOutcome::Open(open) = outbox.begin(&message, &key).await.unwrap() else { panic!("it begins") };
    database.session().await.execute(sqlx::AssertSqlSafe(insert)).await.unwrap();
    open.commit().await.unwrap();
    transaction
}

/// One order of each kind: committed, and not. Nobody answers the broker before it has given up, and the database is away
/// meanwhile, too.
async fn outage<O: TypedOutbox>(database: &Database, outbox: O) {
    let place = Place::levels(1).await;
    create_orders(database).await;
    let insert = |id: &str| Some((database, format!("INSERT INTO orders VALUES ('{id}')")));
    let markers = outbox.outbox();
    for (id, insert) in [("stored", insert("stored")), ("never", None)] {
        let transaction = die(&*markers, &place.topic, id, insert).await.to_string();
        let properties = [("IDEM_TRANSACTION", &*transaction), ("UNIQ_KEY", &transaction), ("KEYS", id)];
        prepare(place.name_server(), &place.topic, &place.group, &properties);
    }
    database.crash();
    let given_up = async || {
        let all = place.bench.read_all(GIVEN_UP).await.unwrap_or_default();
        let ours = all.iter().filter(|message| message.property("REAL_TOPIC") == Some(&place.topic));
        ours.count()
    };
    kit::until_equal("halves that the broker has given up", 2, DEADLINE, given_up).await;
    assert!(sent(&place).await.is_empty());
    let clerk = clerk(&place, outbox).await;
    until("the message", DEADLINE, async || unconfirmed(database).await == 0).await;
    agree(&place, database).await;
    assert_eq!(sent(&place).await, ["stored"]);
    clerk.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_broker_gave_up_on_is_sent_after_an_outage_on_postgres() {
    let database = Database::serve("postgres", "IDEM_TEST_POSTGRES_URL");
    outage(&database, postgres(&database).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_broker_gave_up_on_is_sent_after_an_outage_on_mariadb() {
    let database = Database::serve("mariadb", "IDEM_TEST_MYSQL_URL");
    outage(&database, mariadb(&database).await).await;
}

/// The work is done and the database is gone before the commit: nobody knows. Afterwards both agree, and the same call again
/// tells.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_lost_during_the_commit_is_told_and_both_agree_later() {
    let database = Database::serve("postgres", "IDEM_TEST_POSTGRES_URL");
    let place = Place::levels(1).await;
    create_orders(&database).await;
    let shop = clerk(&place, postgres(&database).await).await;
    let order = OutgoingMessage::new(&place.topic, "1", "order");
    let insert = async |tx: &mut sqlx::PgConnection| {
        sqlx::query("INSERT INTO orders VALUES ('1')").execute(tx).await.map(drop)
    };
    let lost = shop.transaction_on(&order, async |tx: &mut sqlx::PgConnection| {
        insert(tx).await?;
        database.down();
        Ok::<_, sqlx::Error>(())
    });
    let lost = lost.await.unwrap_err();
    assert!(lost.is_undecided(), "{lost}");
    let away = shop.transaction_on(&order, insert).await.unwrap_err();
    assert!(away.is_rolled_back() && away.to_string().contains("out of reach"), "{away}");
    database.up();
    shop.transaction_on(&order, insert).await.unwrap();
    until("the message", DEADLINE, async || unconfirmed(&database).await == 0).await;
    agree(&place, &database).await;
    shop.shutdown().await;
}

//! A shop that stores and announces orders, while its processes are killed at any moment, and while it and its database are
//! away for longer than the broker asks: in the end every order has its message, and every message its order.
//!
//! `IDEM_TEST_KILLS=100` kills more often than the suite has time for.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use idem_rocketmq::embedded::Bench;
use idem_rocketmq::outbox::{Begun, Outbox, OutboxMessage, TransactionId, TypedOutbox};
use idem_rocketmq::prelude::*;
use sqlx::Executor as _;

use crate::kit::{self, until};
use crate::process::Worker;
use crate::servers::{prepare, unique, variable};
use crate::transfers::{Database, kills};

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

async fn sent(bench: &Bench, topic: &str) -> Vec<String> {
    let messages = bench.read_all(topic).await.unwrap_or_default();
    messages.iter().map(|message| message.property("KEYS").unwrap_or_default().to_owned()).collect()
}

/// A member that answers and sweeps, and sells nothing.
async fn clerk<O: TypedOutbox>(bench: &Bench, group: &str, outbox: O) -> Producer<O> {
    Producer::builder(group).name_server(bench.name_server()).outbox(outbox).start().await.unwrap()
}

/// Workers that sell are killed at random moments; some kill themselves in the middle of a transaction.
async fn storm<O: TypedOutbox>(bench: &Bench, database: &Database, outbox: O) {
    kit::seeing();
    let (topic, group) = (unique("orders"), unique("shop"));
    bench.create_topic(&topic, 4).await.unwrap();
    create_orders(database).await;
    let logs = tempfile::tempdir().unwrap();
    let log = logs.path().join("log");
    let orders = async || texts(database, "SELECT id FROM orders").await.map_or(0, |orders| orders.len());
    for turn in 0..kills() {
        let before = orders().await;
        let name = format!("seller-{turn}");
        let arguments = ["orders", bench.name_server(), &topic, &database.url, &group, &name, "any"];
        let mut worker = Worker::run(&arguments, &log);
        // It sells, or has killed itself.
        until("an order", DEADLINE, async || orders().await > before || worker.has_ended()).await;
        tokio::time::sleep(Duration::from_millis(rand::random_range(0..800))).await;
        worker.kill();
    }
    let clerk = clerk(bench, &group, outbox).await;
    until("all are confirmed", DEADLINE, async || unconfirmed(database).await == 0).await;
    agree(bench, database, &topic).await;
    clerk.shutdown().await;
    let log = std::fs::read_to_string(&log).unwrap_or_default();
    assert!(!log.contains("is no outbox"), "{log}");
}

/// Each order has a message, and each message its order.
async fn agree(bench: &Bench, database: &Database, topic: &str) {
    let orders = texts(database, "SELECT id FROM orders").await.unwrap();
    let all = sent(bench, topic).await;
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
    let broker =
        kit::quick_retries().transaction_check_interval(Duration::from_secs(1)).start().await.unwrap();
    let outbox = SqliteOutbox::builder(&database.url).resend_after(RESEND_AFTER).sweep_every(SWEEP_EVERY);
    storm(&broker.bench(), &database, outbox.open().await.unwrap()).await;
    broker.shutdown().await;
}

/// A producer is killed between any two steps of the protocol, and the next one finds what it has left behind.
async fn steps<O: TypedOutbox>(bench: &Bench, database: &Database, outbox: O, steps: &[&str]) {
    kit::seeing();
    let (topic, group) = (unique("orders"), unique("shop"));
    bench.create_topic(&topic, 4).await.unwrap();
    create_orders(database).await;
    let logs = tempfile::tempdir().unwrap();
    for step in steps {
        let log = logs.path().join(step);
        let arguments = ["orders", bench.name_server(), &topic, &database.url, &group, step, step];
        let worker = Worker::run(&arguments, &log);
        until(&format!("death when {step}"), DEADLINE, async || worker.has_ended()).await;
        let log = std::fs::read_to_string(&log).unwrap();
        assert!(log.contains(&format!("dies: {step}")), "{log}");
    }
    let clerk = clerk(bench, &group, outbox).await;
    until("all are confirmed", DEADLINE, async || unconfirmed(database).await == 0).await;
    agree(bench, database, &topic).await;
    clerk.shutdown().await;
}

/// The steps in their order, and those of an answer to the broker.
const STEPS: [&str; 8] = ["prepared", "begun", "worked", "committed", "told", "noted", "asked", "decided"];
/// What happens where the broker does not ask in time. The last one leaves something for the clerk.
const SWEPT: [&str; 5] = ["committed", "due", "sent again", "noted again", "committed"];

#[tokio::test(flavor = "multi_thread")]
async fn orders_and_messages_agree_after_a_kill_at_each_step_on_sqlite() {
    for (every, steps_of) in [(Duration::from_secs(1), &STEPS[..]), (DEADLINE, &SWEPT)] {
        let database = Database::file();
        let broker = kit::quick_retries().transaction_check_interval(every).start().await.unwrap();
        let outbox = SqliteOutbox::builder(&database.url).resend_after(RESEND_AFTER).sweep_every(SWEEP_EVERY);
        steps(&broker.bench(), &database, outbox.open().await.unwrap(), steps_of).await;
        broker.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_and_messages_agree_after_a_kill_at_each_step_on_postgres() {
    let database = Database::serve("postgres", "IDEM_TEST_POSTGRES_URL");
    steps(&java().await, &database, postgres(&database).await, &STEPS).await;
}

async fn java() -> Bench {
    Bench::connect(variable("IDEM_TEST_ROCKETMQ_LEVELS")).await.unwrap()
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
    storm(&java().await, &database, postgres(&database).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_and_messages_agree_while_sellers_are_killed_on_mariadb() {
    let database = Database::serve("mariadb", "IDEM_TEST_MYSQL_URL");
    storm(&java().await, &database, mariadb(&database).await).await;
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
    let Begun::Open(open) = outbox.begin(&message, &key).await.unwrap() else { panic!("it begins") };
    database.session().await.execute(sqlx::AssertSqlSafe(insert)).await.unwrap();
    open.commit().await.unwrap();
    transaction
}

/// One order of each kind: committed, and not. Nobody answers the broker before it has given up, and the database is away
/// meanwhile, too.
async fn outage<O: TypedOutbox>(database: &Database, outbox: O) {
    kit::seeing();
    let (bench, topic, group) = (java().await, unique("given-up"), unique("shop"));
    bench.create_topic(&topic, 1).await.unwrap();
    create_orders(database).await;
    let insert = |id: &str| Some((database, format!("INSERT INTO orders VALUES ('{id}')")));
    let markers = outbox.outbox();
    for (id, insert) in [("stored", insert("stored")), ("never", None)] {
        let transaction = die(&*markers, &topic, id, insert).await.to_string();
        let properties = [("IDEM_TRANSACTION", &*transaction), ("UNIQ_KEY", &transaction), ("KEYS", id)];
        prepare(bench.name_server(), &topic, &group, &properties);
    }
    database.crash();
    let given_up = async || {
        let all = bench.read_all(GIVEN_UP).await.unwrap_or_default();
        let ours = all.iter().filter(|message| message.property("REAL_TOPIC") == Some(&topic));
        ours.count()
    };
    kit::until_equal("halves that the broker has given up", 2, DEADLINE, given_up).await;
    assert!(sent(&bench, &topic).await.is_empty());
    let clerk = clerk(&bench, &group, outbox).await;
    until("the message", DEADLINE, async || unconfirmed(database).await == 0).await;
    agree(&bench, database, &topic).await;
    assert_eq!(sent(&bench, &topic).await, ["stored"]);
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
    kit::seeing();
    let database = Database::serve("postgres", "IDEM_TEST_POSTGRES_URL");
    let (bench, topic, group) = (java().await, unique("lost"), unique("shop"));
    bench.create_topic(&topic, 1).await.unwrap();
    create_orders(&database).await;
    let shop = clerk(&bench, &group, postgres(&database).await).await;
    let order = OutgoingMessage::new(&topic, "1", "order");
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
    agree(&bench, &database, &topic).await;
    shop.shutdown().await;
}

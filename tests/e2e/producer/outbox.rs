//! A transaction's message and its database agree, whatever fails.
//!
//! Run alone: `cargo test --workspace --all-features --test e2e -- producer::outbox::`

use std::time::Duration;

use idem_rocketmq::codec::Bytes;
use idem_rocketmq::outbox::{
    BeginOutcome, OutboxError, OutboxMessage, PostgresOutbox, SqliteOutbox, TransactionId, TypedOutbox,
};
use idem_rocketmq::prelude::*;
use sqlx::{AssertSqlSafe, Connection as _, SqliteConnection};
use tempfile::TempDir;

use crate::support::kit::{SOON, until, until_equal};
use crate::support::place::{Place, on_both};

const QUICKLY: Duration = Duration::from_millis(300);

/// A shop's file: its orders, and the outbox.
struct Shop {
    dir: TempDir,
}

impl Shop {
    async fn new() -> Self {
        let shop = Self { dir: tempfile::tempdir().unwrap() };
        let mut session = shop.session().await;
        sqlx::query("CREATE TABLE orders (id TEXT PRIMARY KEY)").execute(&mut session).await.unwrap();
        shop
    }

    fn path(&self) -> std::path::PathBuf {
        self.dir.path().join("shop.db")
    }

    async fn session(&self) -> SqliteConnection {
        let url = format!("sqlite://{}?mode=rwc", self.path().display());
        SqliteConnection::connect(&url).await.unwrap()
    }

    async fn outbox(&self) -> SqliteOutbox {
        SqliteOutbox::builder(self.path()).sweep_every(QUICKLY).open().await.unwrap()
    }

    async fn number(&self, sql: &str) -> usize {
        let query = sqlx::query_scalar::<_, i64>(AssertSqlSafe(sql.to_owned()));
        usize::try_from(query.fetch_one(&mut self.session().await).await.unwrap()).unwrap()
    }

    async fn orders(&self) -> usize {
        self.number("SELECT count(*) FROM orders").await
    }

    async fn in_state(&self, state: u32) -> usize {
        self.number(&format!("SELECT count(*) FROM idem_outbox WHERE state = {state}")).await
    }
}

async fn insert(tx: &mut SqliteConnection, id: &str) -> sqlx::Result<()> {
    sqlx::query("INSERT INTO orders VALUES (?)").bind(id.to_owned()).execute(tx).await.map(drop)
}

/// A member of the place's producer group.
async fn producer<O: TypedOutbox>(place: &Place, outbox: O) -> Producer<O> {
    place.sender().outbox(outbox).start().await.unwrap()
}

fn order(topic: &str, id: &str) -> OutgoingMessage {
    OutgoingMessage::new(topic, id, format!("order {id}")).tag("PAID").order_by(id).property("source", "web")
}

async fn messages(place: &Place) -> Vec<String> {
    let messages = place.bench.read_all(&place.topic).await.unwrap();
    let mut keys: Vec<_> =
        messages.iter().map(|message| message.property("KEYS").unwrap().to_owned()).collect();
    keys.sort();
    keys
}

on_both! {
    async fn what_is_committed_has_its_message_and_nothing_else_has(place: Levels of 2) {
        let (shop, topic) = (Shop::new().await, place.topic.as_str());
        let producer = producer(&place, shop.outbox().await).await;
        // In a task, as a server does it.
        let (of_task, good) = (producer.clone(), order(topic, "good"));
        let value = tokio::spawn(async move {
            let work = async |tx: &mut SqliteConnection| insert(tx, "good").await.map(|()| 7);
            of_task.transaction_on(&good, work).await
        });
        assert_eq!(value.await.unwrap().unwrap(), 7);

        let failed = producer
            .transaction_on(&order(topic, "fails"), async |tx: &mut SqliteConnection| {
                insert(tx, "fails").await.unwrap();
                Err::<(), _>("declined")
            })
            .await
            .unwrap_err();
        assert!(matches!(failed, OutboxError::Failed("declined")) && failed.is_rolled_back());
        let panicked = producer
            .transaction_on(&order(topic, "panics"), async |tx: &mut SqliteConnection| {
                insert(tx, "panics").await?;
                assert!(tx.ping().await.is_err(), "on purpose");
                Ok::<_, sqlx::Error>(())
            })
            .await
            .unwrap_err();
        assert!(matches!(panicked, OutboxError::Panicked), "{panicked}");
        let order_dropped = order(topic, "dropped");
        let dropped = producer.transaction_on(&order_dropped, async |tx: &mut SqliteConnection| {
            insert(tx, "dropped").await?;
            tokio::time::sleep(SOON).await;
            Ok::<_, sqlx::Error>(())
        });
        assert!(tokio::time::timeout(QUICKLY, Box::pin(dropped)).await.is_err());

        // The same key again, after a failure and after a commit.
        producer
            .transaction_on(&order(topic, "fails"), async |tx: &mut SqliteConnection| insert(tx, "fails").await)
            .await
            .unwrap();
        let again = producer
            .transaction_on(&order(topic, "good"), async |tx: &mut SqliteConnection| insert(tx, "other").await)
            .await
            .unwrap_err();
        assert!(again.is_key_committed(), "{again}");

        until_equal("confirmed markers", 2, SOON, async || shop.in_state(2).await).await;
        assert_eq!(shop.orders().await, 2);
        assert_eq!(messages(&place).await, ["fails", "good"]);
        let stored = place.bench.read_all(topic).await.unwrap();
        assert!(stored.iter().all(|message| message.property("TAGS") == Some("PAID")));
        let begun = std::time::Instant::now();
        producer.shutdown().await;
        assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_broker_was_not_told_is_told_when_it_asks() {
    let (place, shop) = (Place::levels(2).await, Shop::new().await);
    let first = producer(&place, shop.outbox().await).await;
    let group = format!("{}-p", place.group);
    let prepare = |properties: &[(&str, &str)]| {
        crate::support::servers::prepare(place.name_server(), &place.topic, &group, properties);
    };
    // A half message whose local transaction never comes: a producer that dies before its first statement.
    let id = "0123456789abcdef0123456789abcdef";
    prepare(&[("IDEM_TRANSACTION", id), ("UNIQ_KEY", id)]);
    until("it is rolled back", SOON, async || shop.in_state(3).await == 1).await;
    assert!(messages(&place).await.is_empty());

    // And one whose local transaction was committed: the producer dies before it tells its broker.
    let outbox = shop.outbox().await.outbox();
    let stored = OutboxMessage {
        id: TransactionId::random(),
        topic: place.topic.clone(),
        tag: None,
        lookup_keys: Some("stored".to_owned()),
        order_by: None,
        properties: Vec::new(),
        body: Bytes::from_static(b"order"),
    };
    let begun = outbox.begin(&stored, &IdempotencyKey::new("stored").unwrap()).await.unwrap();
    let BeginOutcome::Open(open) = begun else { panic!("it begins") };
    open.commit().await.unwrap();
    let id = stored.id.to_string();
    prepare(&[("IDEM_TRANSACTION", &*id), ("UNIQ_KEY", &id), ("KEYS", "stored")]);
    // The broker's answer is noted, so that the message is not sent again.
    until("it is confirmed", SOON, async || shop.in_state(2).await == 1).await;
    assert_eq!(messages(&place).await, ["stored"]);
    first.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outbox_of_another_group_or_without_tables_is_an_error_at_the_start() {
    let (place, shop) = (Place::plain(1).await, Shop::new().await);
    let first = producer(&place, shop.outbox().await).await;
    let second = Producer::builder(&place.group).name_server(place.name_server());
    let error = second.outbox(shop.outbox().await).start().await.unwrap_err();
    assert!(error.is_misconfiguration(), "{error}");
    let text = error.to_string();
    let groups = [format!("`{}-p`", place.group), format!("`{}`", place.group)];
    assert!(groups.iter().all(|group| text.contains(group)) && text.contains(".table("), "{text}");
    first.shutdown().await;
    let error = PostgresOutbox::builder(crate::support::servers::variable("IDEM_TEST_POSTGRES_URL"))
        .table("never_made")
        .connect()
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("`never_made`") && error.to_string().contains(".migrate()"),
        "{error}"
    );
}

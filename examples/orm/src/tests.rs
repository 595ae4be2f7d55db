//! The driver and the handler on a real server, without a broker.

use diesel_async::{AsyncPgConnection, SimpleAsyncConnection as _};
use idem_rocketmq::prelude::*;
use idem_rocketmq::store::StoreError;
use idem_rocketmq::testing::Decision;
use idem_rocketmq::testing::{Outcome, Verdict};

use crate::Failure;
use crate::driver::Diesel;
use crate::runs::Runs;
use crate::warehouse::{Pick, Totals, Warehouse, pick};

/// A warehouse in a schema of a test's own.
struct Place {
    url: String,
    warehouse: Warehouse,
}

impl Place {
    async fn open() -> Result<Self, Failure> {
        let url = std::env::var("IDEM_TEST_POSTGRES_URL").map_err(
            |_| "IDEM_TEST_POSTGRES_URL is not set: `scripts/services start DIR postgres` starts a server",
        )?;
        let schema = format!("orm_{:016x}", rand::random::<u64>());
        let url = format!("{url}?options=-csearch_path%3D{schema}");
        let create = format!("CREATE SCHEMA {schema}");
        Warehouse::session(&url).await?.batch_execute(&create).await?;
        Ok(Self { warehouse: Warehouse::open(&url).await?, url })
    }

    async fn store(&self) -> Result<PostgresStore, StoreError> {
        let builder = PostgresStore::builder(&self.url).driver(Diesel(self.warehouse.pool()));
        builder.migrate().await?;
        builder.connect().await
    }
}

fn message(topic: &str, pick: &Pick) -> Delivery {
    Delivery::builder(topic).body(serde_json::to_vec(pick).expect("plain data")).build()
}

#[tokio::test]
async fn each_order_takes_its_pieces_once() -> Result<(), Failure> {
    let place = Place::open().await?;
    let runs = Runs::default();
    let consumer = Consumer::builder("warehouse").store(place.store().await?).state(runs.clone());
    let consumer = consumer.handlers(handlers![pick]).test()?;
    let picks: Vec<Pick> = (0..40).map(|number| place.warehouse.pick(number)).collect();
    // Twice each at once, then again until those that have failed are done.
    for round in 0..3 {
        let all = picks.iter().chain(&picks).map(|pick| message("picks", pick));
        let decisions = consumer.deliver_all(all).await;
        let is_right = |decision: &Decision| match decision.verdict {
            Verdict::Ack => true,
            Verdict::Retry(_) => round == 0,
            _ => false,
        };
        assert!(decisions.iter().all(is_right), "{round}: {decisions:?}");
    }
    let wanted = picks.iter().map(|pick| pick.pieces).sum();
    assert_eq!(place.warehouse.totals().await?, Totals { made: 40, twice: 0, gone: wanted, taken: wanted });
    assert_eq!((runs.all(), runs.failed()), (44, 4));
    Ok(())
}

/// Leaves what diesel would commit only in part: a transaction in its transaction.
#[idempotent(key = "id", topic = "nested", transactional)]
async fn nest(pick: Pick, conn: &mut AsyncPgConnection) -> HandlerResult {
    use diesel_async::{AnsiTransactionManager, TransactionManager as _};
    AnsiTransactionManager::begin_transaction(conn).await?;
    conn.batch_execute("UPDATE example_stock SET pieces = pieces - 1").await?;
    if pick.fails { Err("no".into()) } else { Ok(()) }
}

/// Swallows the error of a statement, which is all that is wrong with it.
#[idempotent(key = "id", topic = "swallowed", transactional)]
async fn swallow(pick: Pick, conn: &mut AsyncPgConnection) {
    let _ = conn.batch_execute("UPDATE example_stock SET pieces = pieces - 1").await;
    if pick.fails {
        let _ = conn.batch_execute("SELECT 1 / 0").await;
    }
}

/// Ends its own connection.
#[idempotent(key = "id", topic = "cut", transactional)]
async fn cut(pick: Pick, conn: &mut AsyncPgConnection, State(urls): State<String>) -> HandlerResult {
    conn.batch_execute("UPDATE example_stock SET pieces = pieces - 1").await?;
    if pick.fails {
        let end = "SELECT pg_terminate_backend(pid, 5000) FROM pg_locks \
                   WHERE relation = 'example_stock'::regclass AND mode = 'RowExclusiveLock'";
        Warehouse::session(&urls).await?.batch_execute(end).await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_would_come_apart_is_committed_together_or_not_at_all() -> Result<(), Failure> {
    let place = Place::open().await?;
    let consumer = Consumer::builder("warehouse").store(place.store().await?).state(place.url.clone());
    let consumer = consumer.handlers(handlers![nest, swallow, cut]).test()?;
    let (mut bad, mut gone) = (place.warehouse.pick(3), 0);
    for (topic, outcome) in
        [("nested", Outcome::Failed), ("swallowed", Outcome::Failed), ("cut", Outcome::TransactionFailed)]
    {
        bad.fails = true;
        let failed = consumer.deliver(message(topic, &bad)).await;
        assert_eq!((failed.outcome, place.warehouse.totals().await?.gone), (outcome, gone), "{failed:?}");
        bad.fails = false;
        let done = consumer.deliver(message(topic, &bad)).await;
        gone += crate::warehouse::SKUS;
        assert_eq!((done.outcome, place.warehouse.totals().await?.gone), (Outcome::Completed, gone));
        let attempts = if outcome == Outcome::Failed { 2 } else { 1 };
        assert_eq!(done.attempt, attempts, "{topic}");
    }
    Ok(())
}

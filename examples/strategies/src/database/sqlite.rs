//! SQLite.

use idem_rocketmq::SqliteStore;
use idem_rocketmq::outbox::SqliteOutbox;
use sqlx::sqlite::SqlitePoolOptions;
use sqlx::{Sqlite, Transaction};

use crate::Error;
use crate::ledger::OUTBOX_TABLE;
use crate::place::Place;

#[path = "../strategies/mod.rs"]
pub(crate) mod strategies;

pub(crate) type Connection = sqlx::SqliteConnection;
pub(crate) type Pool = sqlx::SqlitePool;
pub(crate) type Store = SqliteStore;
pub(crate) type Outbox = SqliteOutbox;

pub(crate) const BOOK: &str = "INSERT INTO example_books (strategy, member, order_id) VALUES (?, ?, ?)";
pub(crate) const PAY: &str = "UPDATE example_locks SET state = 'PAID' WHERE id = ?";
pub(crate) const SELL: &str = "INSERT INTO example_marked_sales (order_id) VALUES (?)";

/// One connection: SQLite has one writer at a time.
pub(crate) async fn open(place: &Place) -> Result<(Store, Pool), Error> {
    let store = Store::open(place.file()).await?;
    let pool = SqlitePoolOptions::new().max_connections(1).connect(place.database_url()).await?;
    Ok((store, pool))
}

pub(crate) async fn open_outbox(place: &Place) -> Result<Outbox, Error> {
    Ok(Outbox::builder(place.file()).table(OUTBOX_TABLE).open().await?)
}

/// For writing, from its beginning: two that read first could not both write then.
pub(crate) async fn begin(pool: &Pool) -> sqlx::Result<Transaction<'static, Sqlite>> {
    pool.begin_with("BEGIN IMMEDIATE").await
}

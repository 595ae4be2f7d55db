//! SQLite.

use idem_rocketmq::SqliteStore;
use sqlx::sqlite::SqlitePoolOptions;
use sqlx::{Sqlite, Transaction};

use crate::Error;
use crate::place::Place;

#[path = "../strategies/mod.rs"]
pub(crate) mod strategies;

pub(crate) type Connection = sqlx::SqliteConnection;
pub(crate) type Pool = sqlx::SqlitePool;
pub(crate) type Store = SqliteStore;

pub(crate) const BOOK: &str = "INSERT INTO example_books (strategy, member, order_id) VALUES (?, ?, ?)";
pub(crate) const PAY: &str = "UPDATE example_locks SET state = 'PAID' WHERE id = ?";

/// One connection: SQLite has one writer at a time.
pub(crate) async fn open(place: &Place) -> Result<(Store, Pool), Error> {
    let store = Store::open(place.file()).await?;
    let pool = SqlitePoolOptions::new().max_connections(1).connect(place.database_url()).await?;
    Ok((store, pool))
}

/// For writing, from its beginning: two that read first could not both write then.
pub(crate) async fn begin(pool: &Pool) -> sqlx::Result<Transaction<'static, Sqlite>> {
    pool.begin_with("BEGIN IMMEDIATE").await
}

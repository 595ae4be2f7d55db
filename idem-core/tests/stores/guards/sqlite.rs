//! The guards on SQLite, in a file with a write-ahead log.
//!
//! Run alone: `cargo test -p idem-core --features conformance,sqlite --test stores -- guards::sqlite::`

use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions};
use sqlx::{Pool, Transaction};
use tempfile::TempDir;

use super::Isolation;

#[path = "cases/mod.rs"]
mod cases;

type Db = sqlx::Sqlite;

/// The isolations of its transactions.
const ISOLATIONS: &[Isolation] = &[Isolation::Default];
/// The type of bytes.
const BYTES: &str = "BLOB";
/// Whether an insert finds out that the key has no unique index.
const ASKS_FOR_THE_INDEX: bool = true;
/// Whether a row that is locked leaves others free.
const LOCKS_ROWS: bool = false;

async fn pool(_: Isolation) -> (Pool<Db>, Option<TempDir>) {
    let folder = tempfile::tempdir().unwrap();
    let options = SqliteConnectOptions::new()
        .filename(folder.path().join("guards.db"))
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .busy_timeout(Duration::from_secs(10));
    (SqlitePoolOptions::new().max_connections(12).connect_with(options).await.unwrap(), Some(folder))
}

/// As whoever writes begins on SQLite.
async fn begin(pool: &Pool<Db>) -> Transaction<'static, Db> {
    pool.begin_with("BEGIN IMMEDIATE").await.unwrap()
}

//! The SQLite store.

mod builder;
mod dialect;
mod errors;
mod outbox;
mod plain;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

pub use self::builder::SqliteStoreBuilder;
use self::dialect::Sqlite;
pub use self::outbox::{SqliteOutbox, SqliteOutboxBuilder};
use super::StoreError;
use super::sql::{SqlStoreCore, sql_store};

#[doc = include_str!("sqlite.md")]
#[derive(Clone)]
pub struct SqliteStore(Arc<SqlStoreCore<Sqlite>>);

impl SqliteStore {
    /// Opens the file at this path with the default settings. It is created where it is missing, with its tables.
    ///
    /// # Errors
    /// See [`SqliteStoreBuilder::open`].
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::builder(path).open().await
    }

    /// A file by its path, with settings.
    pub fn builder(path: impl AsRef<Path>) -> SqliteStoreBuilder {
        SqliteStoreBuilder::with_path(path.as_ref())
    }

    /// A file by a pool of the program's own, with settings.
    ///
    /// How durable a completion is, and how long a call waits for another writer, is then as the pool's options say. Take
    /// the write-ahead log and `synchronous=FULL`, unless a lost completion, and so a repeated effect, is acceptable: a start
    /// warns of less.
    pub fn pool(pool: sqlx::SqlitePool) -> SqliteStoreBuilder {
        SqliteStoreBuilder::with_pool(pool)
    }
}

sql_store!(SqliteStore, Sqlite);

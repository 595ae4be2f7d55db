//! The outbox in SQLite.

use std::path::Path;
use std::sync::Arc;

use sqlx::sqlite::{SqliteConnection, SqlitePool};

use super::{Sqlite, SqliteStore, SqliteStoreBuilder};
use crate::store::StoreError;
use crate::store::sql::outbox::{OutboxCore, outbox_builder, sql_outbox};

/// A producer's outbox in a file of SQLite: see [`idem_core::outbox`](crate::outbox).
///
/// The file has one writer at a time: local transactions of all processes run one after the other.
///
/// ```no_run
/// # use idem_core::SqliteOutbox;
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let outbox = SqliteOutbox::open("shop.db").await?;   // creates what is missing
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct SqliteOutbox(Arc<OutboxCore<Sqlite>>);

impl SqliteOutbox {
    /// Opens the file at this path with the default settings. It is created where it is missing, with its tables.
    ///
    /// # Errors
    /// See [`SqliteOutboxBuilder::open`].
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::builder(path).open().await
    }

    /// A file by its path, with settings.
    pub fn builder(path: impl AsRef<Path>) -> SqliteOutboxBuilder {
        SqliteOutboxBuilder::with(SqliteStore::builder(path))
    }

    /// A file by a pool of the program's own, with settings.
    pub fn pool(pool: SqlitePool) -> SqliteOutboxBuilder {
        SqliteOutboxBuilder::with(SqliteStore::pool(pool))
    }
}

outbox_builder!(SqliteOutboxBuilder of SqliteOutbox: "SQLite", SqliteStoreBuilder, Sqlite, open);

sql_outbox!(SqliteOutbox, Sqlite, SqliteConnection);

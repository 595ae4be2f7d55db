//! The store for MySQL and MariaDB.

mod builder;
mod check;
mod dialect;
mod errors;
mod json;
mod outbox;
mod plain;
mod upsert;

use std::sync::Arc;

pub use self::builder::MySqlStoreBuilder;
use self::dialect::MySql;
pub use self::outbox::{MySqlOutbox, MySqlOutboxBuilder};
use super::StoreError;
use super::sql::{SqlStoreCore, sql_store};

#[doc = include_str!("mysql.md")]
#[derive(Clone)]
pub struct MySqlStore(Arc<SqlStoreCore<MySql>>);

impl MySqlStore {
    /// Connects with the default settings: `mysql://user:password@host:port/database`, with `?ssl-mode=VERIFY_IDENTITY`
    /// for TLS.
    ///
    /// # Errors
    /// See [`MySqlStoreBuilder::connect`].
    pub async fn connect(url: impl Into<String>) -> Result<Self, StoreError> {
        Self::builder(url).connect().await
    }

    /// A database by its URL, with settings.
    pub fn builder(url: impl Into<String>) -> MySqlStoreBuilder {
        MySqlStoreBuilder::with_url(url.into())
    }

    /// A database by a pool of the program's own, with settings.
    ///
    /// The store takes a connection for each call and gives it back. That costs a round trip more than connections of
    /// idem's own do, because sqlx's pool asks of each whether it is alive; and the calls wait where the program keeps all
    /// connections busy, and where the pool's runtime stands still. The pool's sessions should be `READ COMMITTED`, by its
    /// `after_connect`: in `REPEATABLE READ` batches roll each other back more often. `autocommit` must be on.
    pub fn pool(pool: sqlx::MySqlPool) -> MySqlStoreBuilder {
        MySqlStoreBuilder::with_pool(pool)
    }
}

sql_store!(MySqlStore, MySql);

//! The outbox in MySQL and MariaDB.

use std::sync::Arc;

use sqlx::mysql::{MySqlConnection, MySqlPool};

use super::{MySql, MySqlStore, MySqlStoreBuilder};
use crate::store::StoreError;
use crate::store::sql::outbox::{OutboxCore, outbox_builder, server_settings, sql_outbox};

/// A producer's outbox in MySQL 8 or MariaDB 10.6 or later: see [`idem_core::outbox`](crate::outbox).
///
/// Statements that change a table's definition commit in the middle of a transaction there: local work must have none.
///
/// ```no_run
/// # use idem_core::MySqlOutbox;
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let builder = MySqlOutbox::builder("mysql://user:password@host:3306/shop");
/// builder.migrate().await?;   // once, as a user that may create tables
/// let outbox = builder.connect().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct MySqlOutbox(Arc<OutboxCore<MySql>>);

impl MySqlOutbox {
    /// Connects with the default settings: `mysql://user:password@host:port/database`, with `?ssl-mode=VERIFY_IDENTITY`
    /// for TLS.
    ///
    /// # Errors
    /// See [`MySqlOutboxBuilder::connect`].
    pub async fn connect(url: impl Into<String>) -> Result<Self, StoreError> {
        Self::builder(url).connect().await
    }

    /// A database by its URL, with settings.
    pub fn builder(url: impl Into<String>) -> MySqlOutboxBuilder {
        MySqlOutboxBuilder::with(MySqlStore::builder(url))
    }

    /// A database by a pool of the program's own, with settings.
    pub fn pool(pool: MySqlPool) -> MySqlOutboxBuilder {
        MySqlOutboxBuilder::with(MySqlStore::pool(pool))
    }
}

outbox_builder!(MySqlOutboxBuilder of MySqlOutbox: "MySQL or MariaDB", MySqlStoreBuilder, MySql, connect);

impl MySqlOutboxBuilder {
    server_settings!();
}

sql_outbox!(MySqlOutbox, MySql, MySqlConnection);

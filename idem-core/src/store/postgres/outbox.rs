//! The outbox in PostgreSQL.

use std::sync::Arc;

use sqlx::postgres::{PgConnection, PgPool};

use super::{Postgres, PostgresStore, PostgresStoreBuilder};
use crate::store::StoreError;
use crate::store::sql::outbox::{OutboxCore, outbox_builder, server_settings, sql_outbox};

/// A producer's outbox in PostgreSQL 12 or later: see [`idem_core::outbox`](crate::outbox).
///
/// ```no_run
/// # use idem_core::PostgresOutbox;
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let builder = PostgresOutbox::builder("postgres://user:password@host:5432/shop");
/// builder.migrate().await?;   // once, as a user that may create tables
/// let outbox = builder.connect().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct PostgresOutbox(Arc<OutboxCore<Postgres>>);

impl PostgresOutbox {
    /// Connects with the default settings: `postgres://user:password@host:port/database`, with `?sslmode=verify-full`
    /// for TLS.
    ///
    /// # Errors
    /// See [`PostgresOutboxBuilder::connect`].
    pub async fn connect(url: impl Into<String>) -> Result<Self, StoreError> {
        Self::builder(url).connect().await
    }

    /// A database by its URL, with settings.
    pub fn builder(url: impl Into<String>) -> PostgresOutboxBuilder {
        PostgresOutboxBuilder::with(PostgresStore::builder(url))
    }

    /// A database by a pool of the program's own, with settings.
    pub fn pool(pool: PgPool) -> PostgresOutboxBuilder {
        PostgresOutboxBuilder::with(PostgresStore::pool(pool))
    }
}

outbox_builder!(PostgresOutboxBuilder of PostgresOutbox: "PostgreSQL", PostgresStoreBuilder, Postgres, connect);

impl PostgresOutboxBuilder {
    server_settings!();
}

sql_outbox!(PostgresOutbox, Postgres, PgConnection);

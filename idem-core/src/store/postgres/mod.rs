//! The PostgreSQL store.

mod builder;
mod check;
mod dialect;
mod driver;
mod errors;
mod foreign;
mod outbox;
mod plain;

use std::sync::Arc;

pub use self::builder::PostgresStoreBuilder;
use self::dialect::Postgres;
pub use self::driver::{DriverResult, PostgresDriver};
pub use self::outbox::{PostgresOutbox, PostgresOutboxBuilder};
use super::StoreError;
use super::sql::{SqlStoreCore, sql_store};

#[doc = include_str!("postgres.md")]
#[derive(Clone)]
pub struct PostgresStore(Arc<SqlStoreCore<Postgres>>);

impl PostgresStore {
    /// Connects with the default settings: `postgres://user:password@host:port/database`, with `?sslmode=verify-full`
    /// for TLS.
    ///
    /// # Errors
    /// See [`PostgresStoreBuilder::connect`].
    pub async fn connect(url: impl Into<String>) -> Result<Self, StoreError> {
        Self::builder(url).connect().await
    }

    /// A database by its URL, with settings.
    pub fn builder(url: impl Into<String>) -> PostgresStoreBuilder {
        PostgresStoreBuilder::with_url(url.into())
    }

    /// A database by a pool of the program's own, with settings.
    ///
    /// The store takes a connection for each call and gives it back. That costs a round trip more than connections of
    /// idem's own do, because sqlx's pool asks of each whether it is alive; and the calls wait where the program keeps all
    /// connections busy, and where the pool's runtime stands still.
    pub fn pool(pool: sqlx::PgPool) -> PostgresStoreBuilder {
        PostgresStoreBuilder::with_pool(pool)
    }
}

sql_store!(PostgresStore, Postgres);

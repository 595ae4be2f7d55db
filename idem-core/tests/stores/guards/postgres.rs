//! The guards on PostgreSQL.
//!
//! Run alone: `cargo test -p idem-core --features conformance,postgres --test stores -- guards::postgres::`

use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, Pool, Transaction};
use tempfile::TempDir;

use super::Isolation;
use crate::support::variable;

#[path = "cases/mod.rs"]
mod cases;

type Db = sqlx::Postgres;

/// The isolations of its transactions; READ COMMITTED is the default.
const ISOLATIONS: &[Isolation] = &[Isolation::Default, Isolation::RepeatableRead, Isolation::Serializable];
/// The type of bytes.
const BYTES: &str = "BYTEA";
/// Whether an insert finds out that the key has no unique index.
const ASKS_FOR_THE_INDEX: bool = true;
/// Whether a row that is locked leaves others free.
const LOCKS_ROWS: bool = true;

async fn pool(isolation: Isolation) -> (Pool<Db>, Option<TempDir>) {
    let options = PgPoolOptions::new().max_connections(12).after_connect(move |connection, _| {
        Box::pin(async move {
            if let Some(name) = isolation.name() {
                let set = format!("SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL {name}");
                sqlx::query(AssertSqlSafe(set)).execute(connection).await?;
            }
            Ok(())
        })
    });
    (options.connect(&variable("IDEM_TEST_POSTGRES_URL")).await.unwrap(), None)
}

async fn begin(pool: &Pool<Db>) -> Transaction<'static, Db> {
    pool.begin().await.unwrap()
}

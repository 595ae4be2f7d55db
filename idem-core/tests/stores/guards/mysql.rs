//! The guards on MariaDB, or on MySQL if `IDEM_TEST_MYSQL_URL` names one.
//!
//! Run alone: `cargo test -p idem-core --features conformance,mysql --test stores -- guards::mysql::`

use sqlx::mysql::MySqlPoolOptions;
use sqlx::{AssertSqlSafe, Pool, Transaction};
use tempfile::TempDir;

use super::Isolation;
use crate::support::variable;

#[path = "cases/mod.rs"]
mod cases;

type Db = sqlx::MySql;

/// The isolations of its transactions; REPEATABLE READ is the default.
const ISOLATIONS: &[Isolation] = &[Isolation::Default, Isolation::ReadCommitted, Isolation::Serializable];
/// The type of bytes.
const BYTES: &str = "VARBINARY(64)";
/// Whether an insert finds out that the key has no unique index.
const ASKS_FOR_THE_INDEX: bool = false;
/// Whether a row that is locked leaves others free.
const LOCKS_ROWS: bool = true;

async fn pool(isolation: Isolation) -> (Pool<Db>, Option<TempDir>) {
    let options = MySqlPoolOptions::new().max_connections(12).after_connect(move |connection, _| {
        Box::pin(async move {
            if let Some(name) = isolation.name() {
                let set = format!("SET SESSION TRANSACTION ISOLATION LEVEL {name}");
                sqlx::query(AssertSqlSafe(set)).execute(connection).await?;
            }
            Ok(())
        })
    });
    (options.connect(&variable("IDEM_TEST_MYSQL_URL")).await.unwrap(), None)
}

async fn begin(pool: &Pool<Db>) -> Transaction<'static, Db> {
    pool.begin().await.unwrap()
}

//! Transactions on SQLite, which has one writer at a time.
//!
//! Run alone: `cargo test -p idem-core --features conformance,sqlite --test stores -- transactions::sqlite::`

use std::sync::Arc;
use std::time::Duration;

use idem_core::store::Store;
use sqlx::{AssertSqlSafe, Executor as _, SqliteConnection};

use crate::support::bank::Bank;
use crate::support::sqlite::Sqlite;

impl Bank for Sqlite {
    type Connection = SqliteConnection;
    const LETS_COMMIT: bool = false;

    async fn open() -> Self {
        let bank = Self::new();
        Self::open(&bank).await;
        bank.execute("CREATE TABLE payments (id text PRIMARY KEY, amount bigint)").await;
        bank
    }

    async fn store(&self, wait: Duration) -> Arc<dyn Store> {
        Arc::new(self.builder().response_timeout(wait).open().await.unwrap())
    }

    async fn execute(on: &mut SqliteConnection, sql: &str) -> sqlx::Result<u64> {
        Ok(on.execute(AssertSqlSafe(sql.to_owned())).await?.rows_affected())
    }

    async fn paid(&self) -> i64 {
        self.number("SELECT count(*) FROM payments").await
    }
}

super::transaction_tests!(Sqlite);

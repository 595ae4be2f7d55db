//! The conformance harness of PostgreSQL, and what its tests do behind the store's back.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use idem_core::store::conformance::Harness;
use idem_core::store::{PostgresStoreBuilder, Store};
use idem_core::{PostgresStore, RecordKey};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};

use super::redis_harness::variable;
use super::sql_harness::{Columns, LATE, unique_name};

pub(crate) fn url() -> String {
    variable("IDEM_TEST_POSTGRES_URL")
}

/// A schema of a test's own.
pub(crate) struct Postgres {
    pub(crate) url: String,
    pub(crate) schema: String,
}

impl Postgres {
    /// A schema without tables.
    pub(crate) async fn empty() -> Self {
        Self::empty_on(url()).await
    }

    pub(crate) async fn empty_on(url: String) -> Self {
        let harness = Self { url, schema: unique_name() };
        harness.execute(&format!("CREATE SCHEMA {}", harness.schema)).await;
        harness
    }

    /// A schema with idem's tables.
    pub(crate) async fn new() -> Self {
        let harness = Self::empty().await;
        harness.builder().migrate().await.unwrap();
        harness
    }

    /// A busy machine is no dead server.
    pub(crate) fn builder(&self) -> PostgresStoreBuilder {
        let builder = PostgresStore::builder(&self.url).schema(&self.schema).connections(3);
        builder.response_timeout(Duration::from_secs(20))
    }

    pub(crate) async fn connect(&self) -> PostgresStore {
        self.builder().connect().await.expect("a connection")
    }

    pub(crate) async fn raw(&self) -> PgConnection {
        PgConnection::connect(&self.url).await.unwrap()
    }

    /// Runs statements; `{table}` is the table of records and `{meta}` the other one.
    pub(crate) async fn execute(&self, sql: &str) {
        let sql = self.sql(sql);
        self.raw().await.execute(sqlx::raw_sql(AssertSqlSafe(sql))).await.unwrap();
    }

    /// The number that a query gives.
    pub(crate) async fn number(&self, sql: &str) -> i64 {
        sqlx::query_scalar(AssertSqlSafe(self.sql(sql))).fetch_one(&mut self.raw().await).await.unwrap()
    }

    pub(crate) fn sql(&self, sql: &str) -> String {
        let table = format!("{}.idem_records", self.schema);
        sql.replace("{table}", &table).replace("{meta}", &format!("{table}_meta"))
    }
}

impl Harness for Postgres {
    fn store(&self) -> BoxFuture<'_, Arc<dyn Store>> {
        Box::pin(async { Arc::new(self.connect().await) as Arc<dyn Store> })
    }

    fn pass(&self, time: Duration) -> BoxFuture<'_, ()> {
        Box::pin(tokio::time::sleep(time))
    }

    fn plant<'a>(&'a self, key: &'a RecordKey, bytes: &'a [u8]) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            let columns = Columns::of(bytes);
            let insert = self.sql(
                "INSERT INTO {table} (key, version, state, token, fence, attempts, lease_end, expires_at, reply) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            );
            let insert = sqlx::query(AssertSqlSafe(insert))
                .bind(key.to_bytes())
                .bind(columns.version)
                .bind(columns.state)
                .bind(columns.token)
                .bind(columns.fence)
                .bind(columns.attempts)
                .bind(columns.lease_end)
                .bind(LATE)
                .bind(columns.reply);
            insert.execute(&mut self.raw().await).await.expect("a planted row");
            true
        })
    }

    fn raw<'a>(&'a self, key: &'a RecordKey) -> BoxFuture<'a, Option<Vec<u8>>> {
        Box::pin(async move {
            let select = self.sql(
                "SELECT version::int8, state::int8, token, fence, attempts::int8, lease_end, reply FROM {table} \
                 WHERE key = $1 AND fingerprint IS NULL AND expires_at = $2",
            );
            let row: Option<(i64, i64, Vec<u8>, i64, i64, i64, Option<Vec<u8>>)> =
                sqlx::query_as(AssertSqlSafe(select))
                    .bind(key.to_bytes())
                    .bind(LATE)
                    .fetch_optional(&mut Self::raw(self).await)
                    .await
                    .expect("a row");
            let (version, state, token, fence, attempts, lease_end, reply) = row?;
            Columns { version, state, token, fence, attempts, lease_end, reply }.bytes()
        })
    }
}

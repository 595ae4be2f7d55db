//! The conformance harness of SQLite, and what its tests do behind the store's back.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use idem_core::store::conformance::Harness;
use idem_core::store::{Purge, SqliteStoreBuilder, Store};
use idem_core::{RecordKey, SqliteStore, StoreError};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Executor as _};
use tempfile::TempDir;

use crate::support::sql::Database;
use crate::support::sql::{Columns, Row, hex, tables};

/// A file of a test's own.
pub(crate) struct Sqlite(TempDir);

impl Sqlite {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) async fn with_tables() -> Self {
        let harness = Self::new();
        harness.builder().migrate().await.unwrap();
        harness
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.0.path().join("idem.db")
    }

    /// A busy machine is no dead store.
    pub(crate) fn builder(&self) -> SqliteStoreBuilder {
        SqliteStore::builder(self.path()).response_timeout(Duration::from_secs(20))
    }

    fn named(&self, table: Option<&str>) -> SqliteStoreBuilder {
        table.into_iter().fold(self.builder(), SqliteStoreBuilder::table)
    }

    pub(crate) async fn open(&self) -> SqliteStore {
        self.builder().open().await.expect("a file")
    }

    pub(crate) async fn session(&self) -> SqliteConnection {
        let options = SqliteConnectOptions::new().filename(self.path()).busy_timeout(Duration::from_secs(20));
        options.connect().await.unwrap()
    }

    /// Runs statements; `{table}` is the table of records; `{meta}`, `{members}` and `{audit}` are those beside it.
    pub(crate) async fn execute(&self, sql: &str) {
        self.session().await.execute(sqlx::raw_sql(AssertSqlSafe(Self::sql(sql)))).await.unwrap();
    }

    /// The number that a query gives.
    pub(crate) async fn number(&self, sql: &str) -> i64 {
        sqlx::query_scalar(AssertSqlSafe(Self::sql(sql))).fetch_one(&mut self.session().await).await.unwrap()
    }

    fn sql(sql: &str) -> String {
        tables(sql, "idem_records")
    }
}

impl Harness for Sqlite {
    fn store(&self) -> BoxFuture<'_, Arc<dyn Store>> {
        Box::pin(async { Arc::new(self.open().await) as Arc<dyn Store> })
    }

    fn pass(&self, time: Duration) -> BoxFuture<'_, ()> {
        Box::pin(tokio::time::sleep(time))
    }

    fn plant<'a>(&'a self, key: &'a RecordKey, bytes: &'a [u8]) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            self.execute(&Columns::of(bytes).insert(key, literal)).await;
            true
        })
    }

    fn raw<'a>(&'a self, key: &'a RecordKey) -> BoxFuture<'a, Option<Vec<u8>>> {
        Box::pin(async move {
            let select = AssertSqlSafe(Self::sql(&Columns::select(key, literal, "")));
            let row: Option<Row> =
                sqlx::query_as(select).fetch_optional(&mut self.session().await).await.unwrap();
            Columns::from(row?).bytes()
        })
    }
}

impl Database for Sqlite {
    fn open<'a>(
        &'a self,
        table: Option<&'a str>,
        purge: Purge,
    ) -> BoxFuture<'a, Result<Arc<dyn Store>, StoreError>> {
        Box::pin(async move {
            let builder = self.named(table).purge(purge);
            Ok(Arc::new(builder.open().await?) as Arc<dyn Store>)
        })
    }

    fn migrate<'a>(&'a self, table: Option<&'a str>) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move { self.named(table).migrate().await })
    }

    fn migrations(&self) -> String {
        self.builder().migrations().unwrap()
    }

    fn run<'a>(&'a self, sql: &'a str) -> BoxFuture<'a, ()> {
        Box::pin(self.execute(sql))
    }

    fn count<'a>(&'a self, sql: &'a str) -> BoxFuture<'a, i64> {
        Box::pin(self.number(sql))
    }
}

fn literal(bytes: &[u8]) -> String {
    format!("x'{}'", hex(bytes))
}

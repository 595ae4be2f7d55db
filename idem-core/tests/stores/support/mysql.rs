//! The conformance harness of MySQL and MariaDB, and what its tests do behind the store's back.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use idem_core::store::conformance::Harness;
use idem_core::store::{MySqlStoreBuilder, Purge, Store};
use idem_core::{MySqlStore, RecordKey, StoreError};
use sqlx::mysql::MySqlConnection;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};

use crate::support::sql::Database;
use crate::support::sql::Server;
use crate::support::sql::{Columns, Row, hex, tables, unique_name};
use crate::support::variable;

pub(crate) fn url() -> String {
    variable("IDEM_TEST_MYSQL_URL")
}

/// A database of a test's own.
#[derive(Clone)]
pub(crate) struct MySql {
    pub(crate) url: String,
    pub(crate) database: String,
    like_mysql: bool,
}

impl MySql {
    /// A database without tables.
    pub(crate) async fn empty_on(url: String) -> Self {
        let harness = Self { url, database: unique_name(), like_mysql: false };
        harness.execute(&format!("CREATE DATABASE {}", harness.database)).await;
        harness
    }

    /// A database with idem's tables.
    pub(crate) async fn new() -> Self {
        Self::new_on(url()).await
    }

    pub(crate) async fn new_on(url: String) -> Self {
        let harness = Self::empty_on(url).await;
        harness.builder().migrate().await.unwrap();
        harness
    }

    /// With the statements for MySQL, whatever the server is.
    pub(crate) async fn like_mysql() -> Self {
        Self { like_mysql: true, ..Self::new().await }
    }

    /// A busy machine is no dead server.
    pub(crate) fn builder(&self) -> MySqlStoreBuilder {
        let builder = MySqlStore::builder(&self.url).schema(&self.database).connections(3);
        let builder = builder.response_timeout(Duration::from_secs(20));
        if self.like_mysql { builder.like_mysql() } else { builder }
    }

    /// The same over another line to the server.
    pub(crate) fn at(&self, url: String) -> Self {
        Self { url, ..self.clone() }
    }

    fn named(&self, table: Option<&str>) -> MySqlStoreBuilder {
        table.into_iter().fold(self.builder(), MySqlStoreBuilder::table)
    }

    pub(crate) async fn connect(&self) -> MySqlStore {
        self.builder().connect().await.expect("a connection")
    }

    pub(crate) async fn session(&self) -> MySqlConnection {
        MySqlConnection::connect(&self.url).await.unwrap()
    }

    /// Runs statements; `{table}` is the table of records; `{meta}`, `{members}` and `{audit}` are those beside it.
    pub(crate) async fn execute(&self, sql: &str) {
        let sql = self.sql(sql);
        self.session().await.execute(sqlx::raw_sql(AssertSqlSafe(sql))).await.unwrap();
    }

    /// The number that a query gives.
    pub(crate) async fn number(&self, sql: &str) -> i64 {
        sqlx::query_scalar(AssertSqlSafe(self.sql(sql))).fetch_one(&mut self.session().await).await.unwrap()
    }

    pub(crate) fn sql(&self, sql: &str) -> String {
        let table = format!("{}.idem_records", self.database);
        let sql = tables(sql, &table);
        let sql = sql.replace("(key,", "(`key`,").replace(" key =", " `key` =");
        sql.replace("SELECT key AS", "SELECT `key` AS").replace("BY key ", "BY `key` ")
    }
}

impl Harness for MySql {
    fn store(&self) -> BoxFuture<'_, Arc<dyn Store>> {
        Box::pin(async { Arc::new(self.connect().await) as Arc<dyn Store> })
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
            let select = AssertSqlSafe(self.sql(&Columns::select(key, literal, "")));
            let row: Option<Row> =
                sqlx::query_as(select).fetch_optional(&mut self.session().await).await.unwrap();
            Columns::from(row?).bytes()
        })
    }
}

impl Database for MySql {
    fn open<'a>(
        &'a self,
        table: Option<&'a str>,
        purge: Purge,
    ) -> BoxFuture<'a, Result<Arc<dyn Store>, StoreError>> {
        Box::pin(async move {
            let builder = self.named(table).purge(purge);
            Ok(Arc::new(builder.connect().await?) as Arc<dyn Store>)
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

impl Server for MySql {
    fn url(&self) -> &str {
        &self.url
    }

    fn connect_to(
        &self,
        url: String,
        response_timeout: Duration,
    ) -> BoxFuture<'_, Result<Arc<dyn Store>, StoreError>> {
        Box::pin(async move {
            let harness = Self { url, ..self.clone() };
            let builder = harness.builder().response_timeout(response_timeout);
            Ok(Arc::new(builder.connect().await?) as Arc<dyn Store>)
        })
    }
}

fn literal(bytes: &[u8]) -> String {
    format!("x'{}'", hex(bytes))
}

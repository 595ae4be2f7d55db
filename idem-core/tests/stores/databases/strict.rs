//! The SQL stores work on sessions with unusual and stricter settings.
//!
//! Run alone: `cargo test -p idem-core --all-features --test stores -- databases::strict::`

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use idem_core::store::Store;
use idem_core::store::conformance::Harness;
use idem_core::{MySqlStore, PostgresStore, RecordKey, SqliteStore};
use sqlx::mysql::{MySqlConnection, MySqlPool, MySqlPoolOptions};
use sqlx::postgres::PgConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions};
use sqlx::{AssertSqlSafe, Executor as _};

use crate::support::bank::Bank;
use crate::support::mysql::{MySql, url as mysql_url};
use crate::support::postgres::Postgres;
use crate::support::records::until;
use crate::support::sql::Server as _;
use crate::support::sql::unique_name;
use crate::support::sqlite::Sqlite;
use crate::transactions::transaction_tests;

/// All that a harness does but opening a store.
macro_rules! strict_harness {
    ($strict:ident) => {
        impl Harness for $strict {
            fn store(&self) -> BoxFuture<'_, Arc<dyn Store>> {
                Box::pin(self.open_store(Duration::from_secs(20)))
            }

            fn pass(&self, time: Duration) -> BoxFuture<'_, ()> {
                self.inner.pass(time)
            }

            fn plant<'a>(&'a self, key: &'a RecordKey, bytes: &'a [u8]) -> BoxFuture<'a, bool> {
                self.inner.plant(key, bytes)
            }

            fn raw<'a>(&'a self, key: &'a RecordKey) -> BoxFuture<'a, Option<Vec<u8>>> {
                self.inner.raw(key)
            }
        }
    };
}

/// Sessions of the program's own, set so; the store sets nothing in them.
struct StrictMySql {
    inner: MySql,
    pool: MySqlPool,
}

const STRICT_MYSQL: &str = "SET SESSION sql_safe_updates = 1, sql_select_limit = 1000, max_join_size = 1000000, \
    time_zone = '+05:30', div_precision_increment = 0, \
    sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES,PAD_CHAR_TO_FULL_LENGTH,ONLY_FULL_GROUP_BY,TRADITIONAL,IGNORE_SPACE,\
    HIGH_NOT_PRECEDENCE,PIPES_AS_CONCAT,NO_UNSIGNED_SUBTRACTION,REAL_AS_FLOAT'";

impl StrictMySql {
    async fn on(url: String, settings: &'static str) -> Self {
        let inner = MySql::new_on(url).await;
        let url = inner.url_with(None, Some(&inner.database));
        let pool = MySqlPoolOptions::new()
            .max_connections(6)
            .after_connect(move |on, _| Box::pin(async move { on.execute(settings).await.map(drop) }))
            .connect_lazy(&url)
            .unwrap();
        Self { inner, pool }
    }

    async fn new() -> Self {
        Self::on(mysql_url(), STRICT_MYSQL).await
    }

    async fn open_store(&self, wait: Duration) -> Arc<dyn Store> {
        Arc::new(MySqlStore::pool(self.pool.clone()).response_timeout(wait).connect().await.unwrap())
    }
}

strict_harness!(StrictMySql);

impl Bank for StrictMySql {
    type Connection = MySqlConnection;

    async fn open() -> Self {
        let bank = Self::new().await;
        let table = format!("{}.payments", bank.inner.database);
        bank.inner
            .execute(&format!("CREATE TABLE {table} (id varchar(20) PRIMARY KEY, amount bigint)"))
            .await;
        bank
    }

    async fn store(&self, wait: Duration) -> Arc<dyn Store> {
        self.open_store(wait).await
    }

    async fn execute(on: &mut MySqlConnection, sql: &str) -> sqlx::Result<u64> {
        Ok(on.execute(AssertSqlSafe(sql.to_owned())).await?.rows_affected())
    }

    async fn paid(&self) -> i64 {
        self.inner.number(&format!("SELECT count(*) FROM {}.payments", self.inner.database)).await
    }
}

/// A user whose sessions are set so; the store's own set what they need otherwise.
struct StrictPostgres {
    inner: Postgres,
    url: String,
}

const STRICT_POSTGRES: [&str; 14] = [
    "default_transaction_isolation = 'serializable'",
    "default_transaction_deferrable = on",
    "standard_conforming_strings = off",
    "backslash_quote = off",
    "bytea_output = 'escape'",
    "DateStyle = 'SQL, DMY'",
    "IntervalStyle = 'sql_standard'",
    "TimeZone = 'Asia/Kolkata'",
    "quote_all_identifiers = on",
    "transform_null_equals = on",
    "lock_timeout = '1ms'",
    "statement_timeout = '1s'",
    "idle_in_transaction_session_timeout = '20s'",
    "search_path = ''",
];

impl StrictPostgres {
    async fn new() -> Self {
        let inner = Postgres::new().await;
        let user = unique_name();
        let schema = &inner.schema;
        inner
            .execute(&format!(
                "CREATE USER {user} PASSWORD 'secret'; GRANT USAGE ON SCHEMA {schema} TO {user}; \
                 GRANT ALL ON ALL TABLES IN SCHEMA {schema} TO {user}"
            ))
            .await;
        for setting in STRICT_POSTGRES {
            inner.execute(&format!("ALTER USER {user} SET {setting}")).await;
        }
        let url = inner.url_with(Some(&format!("{user}:secret")), None);
        Self { inner, url }
    }

    async fn open_store(&self, wait: Duration) -> Arc<dyn Store> {
        let builder = PostgresStore::builder(&self.url).schema(&self.inner.schema).connections(3);
        Arc::new(builder.transactions(4).response_timeout(wait).connect().await.unwrap())
    }
}

strict_harness!(StrictPostgres);

impl Bank for StrictPostgres {
    type Connection = PgConnection;

    async fn open() -> Self {
        let bank = Self::new().await;
        let (schema, user) =
            (&bank.inner.schema, bank.url.split("://").nth(1).unwrap().split(':').next().unwrap());
        bank.inner
            .execute(&format!(
                "CREATE TABLE {schema}.payments (id text PRIMARY KEY, amount bigint); \
                 GRANT ALL ON {schema}.payments TO {user}; ALTER USER {user} SET search_path = {schema}"
            ))
            .await;
        bank
    }

    async fn store(&self, wait: Duration) -> Arc<dyn Store> {
        self.open_store(wait).await
    }

    async fn execute(on: &mut PgConnection, sql: &str) -> sqlx::Result<u64> {
        Ok(on.execute(AssertSqlSafe(sql.to_owned())).await?.rows_affected())
    }

    async fn paid(&self) -> i64 {
        self.inner.number(&format!("SELECT count(*) FROM {}.payments", self.inner.schema)).await
    }
}

struct StrictSqlite {
    inner: Sqlite,
    pool: SqlitePool,
}

impl StrictSqlite {
    async fn new() -> Self {
        let inner = Sqlite::with_tables().await;
        // The last connection that goes takes its log with it, and only then another one can have another kind of log.
        let log = inner.path().with_extension("db-wal");
        until("the file is nobody's", async || !log.exists()).await;
        let options =
            SqliteConnectOptions::new().filename(inner.path()).busy_timeout(Duration::from_secs(20));
        let pragmas = [
            ("foreign_keys", "on"),
            ("recursive_triggers", "on"),
            ("trusted_schema", "off"),
            ("reverse_unordered_selects", "on"),
            ("case_sensitive_like", "on"),
            ("cell_size_check", "on"),
            ("secure_delete", "on"),
            ("journal_mode", "delete"),
        ];
        let options = pragmas.into_iter().fold(options, |options, (name, value)| options.pragma(name, value));
        Self { inner, pool: SqlitePoolOptions::new().max_connections(2).connect_lazy_with(options) }
    }

    async fn open_store(&self, wait: Duration) -> Arc<dyn Store> {
        Arc::new(SqliteStore::pool(self.pool.clone()).response_timeout(wait).open().await.unwrap())
    }
}

strict_harness!(StrictSqlite);

macro_rules! strict_transactions {
    ($bank:ident) => {
        transaction_tests! {
            $bank: rules:
            invariant_6_effect_and_record_commit_together_or_not_at_all
            a_duplicate_elsewhere_waits_and_is_told_what_became_of_the_first
            the_last_attempt_is_a_dead_letter
        }
        transaction_tests! {
            $bank: together:
            a_batch_commits_with_all_its_records_or_not_at_all
        }
        transaction_tests! {
            $bank: group_commits:
            what_fails_in_its_savepoint_is_undone_alone
        }
    };
}

mod mysql {
    use super::*;

    idem_core::conformance_tests!(StrictMySql::new().await);
    strict_transactions!(StrictMySql);

    /// MySQL itself, where the environment names one.
    #[tokio::test]
    async fn a_server_of_mysql_itself_keeps_all_rules() {
        if let Ok(url) = std::env::var("IDEM_TEST_MYSQL8_URL") {
            idem_core::store::conformance::run(&StrictMySql::on(url, STRICT_MYSQL).await).await;
        }
    }
}

mod postgres {
    use super::*;

    idem_core::conformance_tests!(StrictPostgres::new().await);
    strict_transactions!(StrictPostgres);
}

mod sqlite {
    use super::*;

    idem_core::conformance_tests!(StrictSqlite::new().await);
}

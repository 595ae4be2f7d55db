//! The MySQL store, on MariaDB and MySQL.
//!
//! Run alone: `cargo test -p idem-core --features conformance,mysql --test stores -- databases::mysql::`

use std::time::Duration;

use futures_util::future::join_all;
use idem_core::MySqlStore;
use idem_core::store::{Claim, ClaimRequest, Purge, Store};
use sqlx::mysql::MySqlPoolOptions;
use sqlx::{AssertSqlSafe, Connection as _};

use super::rules::sql_tests;
use super::server_rules::server_tests;
use crate::support::mysql::MySql;
use crate::support::records::{claims, rival};
use crate::support::sql::Server as _;
use crate::support::sql::becomes;
use crate::support::sql::unique_name;
use crate::support::variable;

idem_core::conformance_tests!(MySql::new().await);
sql_tests!(MySql::new().await);
server_tests!(MySql::new().await);

/// The statements for MySQL, which differ in what comes back: on the same server, and so mostly on MariaDB.
mod like_mysql {
    use super::{MySql, sql_tests};

    idem_core::conformance_tests!(MySql::like_mysql().await);
    sql_tests!(MySql::like_mysql().await);
}

/// MySQL itself, where the environment names one.
#[tokio::test]
async fn a_server_of_mysql_itself_keeps_all_rules() {
    if let Ok(url) = std::env::var("IDEM_TEST_MYSQL8_URL") {
        idem_core::store::conformance::run(&MySql::new_on(url).await).await;
    }
}

async fn claimed(store: &dyn Store, batch: &[ClaimRequest]) -> usize {
    let answers = store.claim(batch).await.unwrap().into_iter();
    answers.filter(|answer| matches!(answer.as_ref().unwrap(), Claim::Claimed { .. })).count()
}

/// A transaction holds the second key and then wants the first, which the batch has by then. And how the batch's session
/// is isolated shows while it waits.
#[tokio::test]
async fn a_deadlock_with_a_transaction_is_survived_and_sessions_are_read_committed() {
    let harness = MySql::new().await;
    // Its sessions are known by their database.
    let url = harness.url_with(None, Some(&harness.database));
    let store = harness.connect_to(url, Duration::from_secs(20)).await.unwrap();
    let mut batch = claims(2);
    batch.sort_by_key(|request| request.key.to_bytes());
    store.claim(&batch).await.unwrap();
    harness.execute("UPDATE {table} SET lease_end = 0").await;
    let mut other = harness.session().await;
    let lock = |request: &ClaimRequest| {
        let sql = harness.sql("UPDATE {table} SET attempts = attempts + 1 WHERE key = ?");
        sqlx::query(AssertSqlSafe(sql)).bind(request.key.to_bytes())
    };
    let mut transaction = other.begin().await.unwrap();
    lock(&batch[1]).execute(&mut *transaction).await.unwrap();
    let rivals: Vec<_> = batch.iter().map(rival).collect();
    let claiming = tokio::spawn(async move { claimed(&*store, &rivals).await });
    let waiting = format!(
        "SELECT count(*) FROM information_schema.innodb_trx JOIN information_schema.processlist \
         ON id = trx_mysql_thread_id WHERE db = '{}' AND trx_state = 'LOCK WAIT' \
         AND trx_isolation_level = 'READ COMMITTED'",
        harness.database
    );
    becomes(&harness, &waiting, 1).await;
    // One of the two is rolled back; the claim is done again where it is the one.
    if lock(&batch[0]).execute(&mut *transaction).await.is_ok() {
        transaction.commit().await.unwrap();
    } else {
        transaction.rollback().await.unwrap();
    }
    assert_eq!(claiming.await.unwrap(), 2);
}

#[tokio::test]
async fn a_purge_does_not_wait_for_live_records_that_a_transaction_holds() {
    let harness = MySql::new().await;
    let store = harness.builder().purge(Purge::off()).connect().await.unwrap();
    store.claim(&claims(20)).await.unwrap();
    harness.execute("UPDATE {table} SET expires_at = 1000").await;
    let live = claims(5);
    store.claim(&live).await.unwrap();
    let mut other = harness.session().await;
    let mut transaction = other.begin().await.unwrap();
    for request in &live {
        let lock = harness.sql("SELECT 1 FROM {table} WHERE key = ? FOR UPDATE");
        sqlx::query(AssertSqlSafe(lock))
            .bind(request.key.to_bytes())
            .execute(&mut *transaction)
            .await
            .unwrap();
    }
    let _purger = harness.connect().await;
    becomes(&harness, "SELECT count(*) FROM {table}", 5).await;
    transaction.rollback().await.unwrap();
}

#[tokio::test]
async fn missing_tables_and_a_missing_database_are_settings() {
    let harness = MySql::empty_on(crate::support::mysql::url()).await;
    let error = harness.builder().connect().await.unwrap_err();
    assert!(error.is_config() && error.to_string().contains("migrate()"), "{error}");
    assert!(error.to_string().contains(&format!("{}.idem_records", harness.database)), "{error}");
    let error = harness.builder().schema("no_such_database").migrate().await.unwrap_err();
    assert!(error.is_config(), "{error:?}");
    let error = MySqlStore::builder(harness.url_with(None, Some(""))).migrate().await.unwrap_err();
    assert!(error.is_config() && error.to_string().contains("database"), "{error:?}");
}

#[tokio::test]
async fn a_user_without_rights_is_told_which_it_needs() {
    let harness = MySql::new().await;
    let (user, database) = (unique_name(), &harness.database);
    harness.execute(&format!("CREATE USER {user}@'%' IDENTIFIED BY 'hunter2'")).await;
    harness.execute(&format!("GRANT SELECT ON {{meta}} TO {user}@'%'")).await;
    let url = harness.url_with(Some(&format!("{user}:hunter2")), Some(database));
    let poor = MySqlStore::builder(url).purge(Purge::off());
    // Each right is tried at the start.
    for right in ["SELECT", "INSERT", "UPDATE", "DELETE"] {
        let error = poor.clone().connect().await.unwrap_err();
        assert!(error.is_config() && error.to_string().contains("grant SELECT"), "before {right}: {error:?}");
        assert!(error.to_string().contains("(error 1142: "), "{error}");
        assert!(!format!("{poor:?} {error:?}").contains("hunter"));
        harness.execute(&format!("GRANT {right} ON {{table}} TO {user}@'%'")).await;
    }
    // One that may not delete leaves its key, for a minute.
    let before = harness.number("SELECT count(*) FROM {table}").await;
    let store = poor.clone().connect().await.unwrap();
    assert_eq!(
        harness.number("SELECT count(*) FROM {table}").await,
        before,
        "the probe leaves nothing behind"
    );
    assert!(!format!("{store:?}").contains("hunter"));
    assert_eq!(claimed(&store, &claims(2)).await, 2);
    // The purge changes the second table.
    let error = poor.clone().purge(Purge::default()).connect().await.unwrap_err();
    assert!(error.is_config() && error.to_string().contains("grant SELECT"), "{error:?}");
    let wrong = harness.url_with(Some(&format!("{user}:hunter3")), None);
    let error = MySqlStore::connect(wrong).await.unwrap_err();
    assert!(error.is_config() && !format!("{error:?}").contains("hunter"), "{error:?}");
}

/// Has the server close a store's connections while they are idle, and claims over them.
async fn idle_connections_are_closed(
    harness: &MySql,
    sessions: [&str; 3],
    close: &str,
    closed: impl AsyncFnOnce(&[i64]),
) {
    let [table, id, database] = sessions;
    harness.execute(close).await;
    let url = harness.url_with(None, Some(&harness.database));
    let store = MySqlStore::builder(url).connections(3).purge(Purge::off()).connect().await.unwrap();
    let warm: Vec<_> = (0..12).map(|_| claims(40)).collect();
    join_all(warm.iter().map(|batch| claimed(&store, batch))).await;
    let own = format!("FROM {table} WHERE {database} = '{}'", harness.database);
    let select = AssertSqlSafe(format!("SELECT CAST({id} AS SIGNED) {own}"));
    let ids: Vec<i64> = sqlx::query_scalar(select).fetch_all(&mut harness.session().await).await.unwrap();
    assert!(!ids.is_empty());
    closed(&ids).await;
    becomes(harness, &format!("SELECT count(*) {own}"), 0).await;
    for _ in 0..4 {
        assert_eq!(claimed(&store, &claims(2)).await, 2);
    }
}

#[tokio::test]
async fn killed_connections_cost_no_error() {
    let harness = MySql::new().await;
    let kill = async |ids: &[i64]| {
        for id in ids {
            harness.execute(&format!("KILL {id}")).await;
        }
    };
    let sessions = ["information_schema.processlist", "id", "db"];
    idle_connections_are_closed(&harness, sessions, "DO 1", kill).await;
}

/// MySQL itself writes error 4031 into a connection before it closes it.
#[tokio::test]
async fn connections_that_mysql_has_closed_for_being_idle_cost_no_error() {
    let Ok(url) = std::env::var("IDEM_TEST_MYSQL8_URL") else { return };
    let harness = MySql::new_on(url).await;
    let put_back = async |_: &[i64]| harness.execute("SET GLOBAL wait_timeout = 28800").await;
    let sessions = ["performance_schema.threads", "processlist_id", "processlist_db"];
    idle_connections_are_closed(&harness, sessions, "SET GLOBAL wait_timeout = 1", put_back).await;
}

/// Statements of a trigger's may quote a key.
#[tokio::test]
async fn what_a_server_says_of_a_value_is_not_shown() {
    let harness = MySql::new().await;
    let store = harness.builder().purge(Purge::off()).connect().await.unwrap();
    harness
        .execute(
            &"CREATE TRIGGER {schema}.refuses BEFORE INSERT ON {table} FOR EACH ROW \
             SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'the key is order-4711'"
                .replace("{schema}", &harness.database),
        )
        .await;
    let error = store.claim(&claims(1)).await.unwrap_err();
    assert!(error.is_statement() && error.to_string().ends_with("(error 1644)"), "{error}");
}

#[tokio::test]
async fn a_pool_of_the_programs_own_serves_too() {
    let harness = MySql::new().await;
    let pool = MySqlPoolOptions::new().max_connections(2).connect(&harness.url).await.unwrap();
    let store = MySqlStore::pool(pool.clone()).schema(&harness.database).connect().await.unwrap();
    assert_eq!(store.connections(), Some(2));
    let batches: Vec<_> = (0..10).map(|_| claims(5)).collect();
    for answers in join_all(batches.iter().map(|batch| store.claim(batch))).await {
        assert!(matches!(answers.unwrap()[0], Ok(Claim::Claimed { .. })));
    }
    assert_eq!(pool.size(), 2);
}

#[tokio::test]
async fn a_private_authority_is_trusted_when_it_is_given_and_only_then() {
    let harness = MySql::new().await;
    let separator = if harness.url.contains('?') { "&" } else { "?" };
    let url = format!("{}{separator}ssl-mode=VERIFY_IDENTITY", harness.url);
    let builder = MySqlStore::builder(url).schema(&harness.database);
    let error = builder.clone().connect().await.unwrap_err();
    assert!(error.is_config() && error.to_string().contains("TLS"), "{error:?}");
    let roots = std::fs::read(variable("IDEM_TEST_MYSQL_CA")).unwrap();
    let store = builder.root_certificates(roots).connect().await.unwrap();
    assert_eq!(claimed(&store, &claims(3)).await, 3);
}

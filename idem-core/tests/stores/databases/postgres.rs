//! The PostgreSQL store.
//!
//! Run alone: `cargo test -p idem-core --features conformance,postgres --test stores -- databases::postgres::`

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use idem_core::PostgresStore;
use idem_core::store::{Claim, ClaimRequest, CompleteRequest, Purge, Store};
use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, Connection as _};

use super::rules::sql_tests;
use super::server_rules::server_tests;
use crate::support::postgres::Postgres;
use crate::support::records::{claims, rival};
use crate::support::sql::Server as _;
use crate::support::sql::becomes;
use crate::support::sql::unique_name;
use crate::support::variable;

idem_core::conformance_tests!(Postgres::new().await);
sql_tests!(Postgres::new().await);
server_tests!(Postgres::new().await);

async fn claimed(store: &dyn Store, batch: &[ClaimRequest]) -> usize {
    let answers = store.claim(batch).await.unwrap().into_iter();
    answers.filter(|answer| matches!(answer.as_ref().unwrap(), Claim::Claimed { .. })).count()
}

/// Also where some of its keys are taken; whose records are neither locked nor written.
#[tokio::test]
async fn a_batch_is_one_transaction_and_writes_what_it_takes() {
    let harness = Postgres::new().await;
    let store = harness.builder().purge(Purge::off()).connections(1).connect().await.unwrap();
    let (mut seen, begun) = (Vec::new(), Instant::now());
    // A row that was long in being written has its fence written again: on a busy machine, most batches have some, so that these
    // are small.
    while !seen.contains(&(2, 0)) && begun.elapsed() < Duration::from_mins(1) {
        harness.execute("TRUNCATE {table}").await;
        let batch = claims(4);
        assert_eq!(claimed(&store, &batch).await, 4);
        let mut mixed = claims(4);
        mixed[..2].clone_from_slice(&batch.iter().take(2).map(rival).collect::<Vec<_>>());
        assert_eq!(claimed(&store, &mixed).await, 2);
        // A record says which transaction has written it, and which has locked it.
        let written = harness.number("SELECT count(DISTINCT xmin::text)::int8 FROM {table}").await;
        seen.push((written, harness.number("SELECT count(*) FROM {table} WHERE xmax::text <> '0'").await));
    }
    assert!(seen.contains(&(2, 0)), "{seen:?}");
}

/// A transaction holds the second key and then wants the first, which the batch has by then.
#[tokio::test]
async fn a_deadlock_with_a_transaction_is_survived() {
    let harness = Postgres::new().await;
    let store = harness.connect().await;
    let mut batch = claims(2);
    batch.sort_by_key(|request| request.key.to_bytes());
    store.claim(&batch).await.unwrap();
    harness.execute("UPDATE {table} SET lease_end = 0").await;
    let mut other = harness.session().await;
    let lock = |request: &ClaimRequest| {
        let sql = harness.sql("UPDATE {table} SET attempts = attempts + 1 WHERE key = $1");
        sqlx::query(AssertSqlSafe(sql)).bind(request.key.to_bytes())
    };
    let mut transaction = other.begin().await.unwrap();
    lock(&batch[1]).execute(&mut *transaction).await.unwrap();
    let rivals: Vec<_> = batch.iter().map(rival).collect();
    let claiming = tokio::spawn(async move { claimed(&store, &rivals).await });
    let start = Instant::now();
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE ";
    while harness.number(&format!("{waiting}'%{}%'", harness.schema)).await == 0 {
        assert!(start.elapsed() < Duration::from_secs(20), "the claim does not wait");
    }
    // One of the two is rolled back; the claim is done again where it is the one.
    if lock(&batch[0]).execute(&mut *transaction).await.is_ok() {
        transaction.commit().await.unwrap();
    } else {
        transaction.rollback().await.unwrap();
    }
    assert_eq!(claiming.await.unwrap(), 2);
}

/// Otherwise each completion would write to the index, too.
#[tokio::test]
async fn completions_need_no_new_entry_in_the_index() {
    let harness = Postgres::new().await;
    let store = harness.connect().await;
    for _ in 0..20 {
        let batch = claims(50);
        let answers = store.claim(&batch).await.unwrap();
        let done: Vec<_> =
            batch.iter().zip(answers).map(|(claim, answer)| completion(claim, &answer.unwrap())).collect();
        store.complete(&done).await.unwrap();
    }
    drop(store);
    let sum = |column: &str| {
        format!(
            "SELECT coalesce(sum({column}), 0)::int8 FROM pg_stat_user_tables WHERE relname = 'idem_records' AND schemaname = '{}'",
            harness.schema
        )
    };
    let start = Instant::now();
    while harness.number(&sum("n_tup_upd")).await < 1_000 {
        assert!(start.elapsed() < Duration::from_secs(20), "the statistics have not come");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let hot = harness.number(&sum("n_tup_hot_upd")).await;
    assert!(hot >= 990, "{hot} of 1000 updates were heap-only");
}

fn completion(claim: &ClaimRequest, answer: &Claim) -> CompleteRequest {
    let Claim::Claimed { fence, .. } = *answer else { panic!("{answer:?}") };
    let (key, token, retention) = (claim.key.clone(), claim.token, claim.retention);
    CompleteRequest::new(key, token, fence, retention, idem_core::MemberId::random())
}

#[tokio::test]
async fn a_purge_does_not_wait_for_live_records_that_a_transaction_holds() {
    let harness = Postgres::new().await;
    let store = harness.builder().purge(Purge::off()).connect().await.unwrap();
    store.claim(&claims(20)).await.unwrap();
    harness.execute("UPDATE {table} SET expires_at = 1000").await;
    store.claim(&claims(5)).await.unwrap();
    let mut other = harness.session().await;
    let mut transaction = other.begin().await.unwrap();
    let lock = harness.sql("SELECT key FROM {table} WHERE expires_at > 1000 FOR UPDATE");
    sqlx::query(AssertSqlSafe(lock)).execute(&mut *transaction).await.unwrap();
    let _purger = harness.connect().await;
    becomes(&harness, "SELECT count(*) FROM {table}", 5).await;
    transaction.rollback().await.unwrap();
}

/// As after a failover behind the server's name: the connections lead to what is a standby by now.
#[tokio::test]
async fn a_server_that_turned_read_only_is_left_for_new_connections() {
    let harness = Postgres::new().await;
    let user = unique_name();
    harness.execute(&format!("CREATE USER {user} SUPERUSER PASSWORD 'secret'")).await;
    let url = harness.url_with(Some(&format!("{user}:secret")), None);
    let set = async |value: &str| {
        harness.execute(&format!("ALTER USER {user} SET default_transaction_read_only = {value}")).await;
    };
    let store =
        PostgresStore::builder(&url).schema(&harness.schema).purge(Purge::off()).connect().await.unwrap();
    store.claim(&claims(1)).await.unwrap();
    set("on").await;
    // The sessions that there are do not notice; ended ones are made again, and these are read-only.
    let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = ";
    harness.number(&format!("{end}'{user}'")).await;
    let error = store.claim(&claims(1)).await.unwrap_err();
    assert!(error.is_unavailable() && error.to_string().contains("read-only"), "{error:?}");
    set("off").await;
    assert_eq!(claimed(&store, &claims(1)).await, 1);
}

#[tokio::test]
async fn missing_tables_a_missing_schema_and_a_read_only_server_are_settings() {
    let harness = Postgres::empty().await;
    let error = harness.builder().connect().await.unwrap_err();
    assert!(error.is_config() && error.to_string().contains("migrate()"), "{error}");
    assert!(error.to_string().contains(&format!("{}.idem_records", harness.schema)), "{error}");
    let error = harness.builder().schema("no_such_schema").migrate().await.unwrap_err();
    assert!(error.is_config(), "{error:?}");
    let separator = if harness.url.contains('?') { "&" } else { "?" };
    let url = format!("{}{separator}options=-c%20default_transaction_read_only%3Don", harness.url);
    let error = PostgresStore::builder(url).schema(&harness.schema).connect().await.unwrap_err();
    assert!(error.is_config() && error.to_string().contains("read-only"), "{error:?}");
}

#[tokio::test]
async fn a_user_without_rights_is_told_which_it_needs() {
    let harness = Postgres::new().await;
    let user = unique_name();
    harness
        .execute(&format!(
            "CREATE USER {user} PASSWORD 'hunter2'; GRANT USAGE ON SCHEMA {} TO {user}",
            harness.schema
        ))
        .await;
    harness.execute(&format!("GRANT SELECT ON {{meta}} TO {user}")).await;
    let url = harness.url_with(Some(&format!("{user}:hunter2")), None);
    let poor = PostgresStore::builder(url).schema(&harness.schema).purge(Purge::off());
    // Each right is tried at the start.
    for right in ["SELECT", "INSERT", "UPDATE", "DELETE"] {
        let error = poor.clone().connect().await.unwrap_err();
        assert!(error.is_config() && error.to_string().contains("grant SELECT"), "before {right}: {error:?}");
        assert!(error.to_string().contains("(error 42501: permission denied for "), "{error}");
        assert!(!format!("{poor:?} {error:?}").contains("hunter"));
        harness.execute(&format!("GRANT {right} ON {{table}} TO {user}")).await;
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
    let error = PostgresStore::connect(wrong).await.unwrap_err();
    assert!(error.is_config() && !format!("{error:?}").contains("hunter"), "{error:?}");
}

/// Over more than one connection.
#[tokio::test]
async fn connections_that_were_ended_by_an_administrator_cost_no_error() {
    let harness = Postgres::new().await;
    let user = unique_name();
    harness.execute(&format!("CREATE USER {user} SUPERUSER PASSWORD 'secret'")).await;
    let url = harness.url_with(Some(&format!("{user}:secret")), None);
    let builder = PostgresStore::builder(&url).schema(&harness.schema).purge(Purge::off());
    let store = builder.connections(3).connect().await.unwrap();
    for _ in 0..3 {
        let warm: Vec<_> = (0..12).map(|_| claims(40)).collect();
        join_all(warm.iter().map(|batch| claimed(&store, batch))).await;
        let end = "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity WHERE usename = ";
        assert!(harness.number(&format!("{end}'{user}'")).await > 0);
        assert_eq!(claimed(&store, &claims(2)).await, 2);
    }
}

/// Statements of a trigger's may quote a key.
#[tokio::test]
async fn what_a_server_says_of_a_value_is_not_shown() {
    let harness = Postgres::new().await;
    let store = harness.builder().purge(Purge::off()).connect().await.unwrap();
    harness
        .execute(&format!(
            "CREATE FUNCTION {}.refuse() RETURNS trigger LANGUAGE plpgsql AS \
             $$BEGIN RAISE EXCEPTION 'the key is %', NEW.key; END$$; \
             CREATE TRIGGER refuses BEFORE INSERT ON {{table}} FOR EACH ROW EXECUTE FUNCTION {0}.refuse()",
            harness.schema
        ))
        .await;
    let error = store.claim(&claims(1)).await.unwrap_err();
    assert!(error.is_statement() && error.to_string().ends_with("(error P0001, raise_exception)"), "{error}");
}

#[tokio::test]
async fn a_pool_of_the_programs_own_serves_too() {
    let harness = Postgres::new().await;
    let pool = PgPoolOptions::new().max_connections(2).connect(&harness.url).await.unwrap();
    let store = PostgresStore::pool(pool.clone()).schema(&harness.schema).connect().await.unwrap();
    assert_eq!(store.connections(), Some(2));
    let batches: Vec<_> = (0..10).map(|_| claims(5)).collect();
    for answers in join_all(batches.iter().map(|batch| store.claim(batch))).await {
        assert!(matches!(answers.unwrap()[0], Ok(Claim::Claimed { .. })));
    }
    assert_eq!(pool.size(), 2);
}

#[tokio::test]
async fn a_private_authority_is_trusted_when_it_is_given_and_only_then() {
    let harness = Postgres::new().await;
    let separator = if harness.url.contains('?') { "&" } else { "?" };
    let url = format!("{}{separator}sslmode=verify-full", harness.url);
    let builder = PostgresStore::builder(url).schema(&harness.schema);
    let error = builder.clone().connect().await.unwrap_err();
    assert!(error.is_config() && error.to_string().contains("TLS"), "{error:?}");
    let roots = std::fs::read(variable("IDEM_TEST_POSTGRES_CA")).unwrap();
    let store = builder.root_certificates(roots).connect().await.unwrap();
    assert_eq!(claimed(&store, &claims(3)).await, 3);
}

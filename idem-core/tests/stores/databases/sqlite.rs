//! The SQLite store.
//!
//! Run alone: `cargo test -p idem-core --features conformance,sqlite --test stores -- databases::sqlite::`

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use idem_core::SqliteStore;
use idem_core::store::{Claim, Purge, Store};
use sqlx::Connection as _;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};

use super::rules::sql_tests;
use crate::support::records::claims;
use crate::support::sql::becomes;
use crate::support::sqlite::Sqlite;

idem_core::conformance_tests!(Sqlite::new());
sql_tests!(Sqlite::with_tables().await);

#[tokio::test]
async fn a_missing_file_is_made_and_a_record_survives_the_store() {
    let harness = Sqlite::new();
    let batch = claims(2);
    let store = SqliteStore::open(harness.path()).await.unwrap();
    store.claim(&batch).await.unwrap();
    assert!(format!("{store:?}").contains("idem.db"));
    drop(store);
    let store = SqliteStore::open(harness.path()).await.unwrap();
    assert!(store.read(&batch[1].key).await.unwrap().is_some());
}

/// A duplicate changes nothing in the file, so it waits for no disk.
#[tokio::test]
async fn a_completion_is_on_the_disk_when_it_is_answered_and_a_duplicate_writes_nothing() {
    let harness = Sqlite::new();
    let store = harness.builder().purge(Purge::off()).open().await.unwrap();
    let batch = claims(20);
    let log = || std::fs::metadata(harness.path().with_extension("db-wal")).unwrap().len();
    let before = log();
    store.claim(&batch).await.unwrap();
    let claimed = log();
    assert!(claimed > before);
    let again: Vec<_> = batch.iter().map(crate::support::records::rival).collect();
    for answer in store.claim(&again).await.unwrap() {
        assert!(matches!(answer.unwrap(), Claim::InProgress { .. }));
    }
    assert_eq!(log(), claimed);
}

#[tokio::test]
async fn a_directory_that_is_missing_and_a_file_that_is_no_database_are_settings() {
    let harness = Sqlite::new();
    let missing = harness.path().join("missing/idem.db");
    let text = harness.path().with_extension("txt");
    std::fs::write(&text, "this is no database, but long enough to be looked at by one, and so on and so on")
        .unwrap();
    for path in [missing, text] {
        let error = SqliteStore::open(&path).await.unwrap_err();
        assert!(error.is_config(), "{error:?}");
        assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    }
    for path in ["", ":memory:"] {
        assert!(SqliteStore::open(path).await.unwrap_err().to_string().contains("MemoryStore"));
    }
}

/// SQLite opens it all the same, and would fail at the first message.
#[tokio::test]
async fn a_file_that_may_not_be_written_is_told_at_the_start() {
    let harness = Sqlite::with_tables().await;
    let options = SqliteConnectOptions::new().filename(harness.path()).read_only(true);
    let pool = SqlitePoolOptions::new().connect_with(options).await.unwrap();
    let error = SqliteStore::pool(pool).open().await.unwrap_err();
    let text = error.to_string();
    assert!(
        error.is_config() && text.contains("is read-only: let the process's user write the file"),
        "{error:?}"
    );
    assert!(text.contains(&harness.path().display().to_string()), "{text}");
}

#[tokio::test]
async fn a_file_in_which_another_writes_is_opened() {
    let harness = Sqlite::with_tables().await;
    let mut other = harness.session().await;
    let transaction = other.begin_with("BEGIN IMMEDIATE").await.unwrap();
    let store = harness.builder().open().await.unwrap();
    transaction.rollback().await.unwrap();
    store.claim(&claims(1)).await.unwrap().remove(0).unwrap();
}

/// Another process writes for longer than a call may take.
#[tokio::test]
async fn a_file_that_stays_locked_is_unavailable_in_time_and_found_again() {
    let harness = Sqlite::with_tables().await;
    let timeout = Duration::from_millis(300);
    let builder = SqliteStore::builder(harness.path()).response_timeout(timeout).purge(Purge::off());
    let store = builder.open().await.unwrap();
    let mut other = harness.session().await;
    let transaction = other.begin_with("BEGIN IMMEDIATE").await.unwrap();
    for _ in 0..3 {
        let start = Instant::now();
        let error = store.claim(&claims(2)).await.unwrap_err();
        assert!(error.is_unavailable(), "{error:?}");
        assert!(start.elapsed() < timeout * 6, "{:?}", start.elapsed());
    }
    transaction.rollback().await.unwrap();
    let start = Instant::now();
    while let Err(error) = store.claim(&claims(2)).await {
        assert!(error.is_unavailable() && start.elapsed() < Duration::from_secs(20), "{error:?}");
    }
}

#[tokio::test]
async fn a_pool_of_the_programs_own_serves_too() {
    let harness = Sqlite::with_tables().await;
    let url = format!("sqlite://{}", harness.path().display());
    let pool = SqlitePoolOptions::new().max_connections(2).connect(&url).await.unwrap();
    let store = SqliteStore::pool(pool).open().await.unwrap();
    assert_eq!(store.connections(), Some(2));
    let batches: Vec<_> = (0..10).map(|_| claims(5)).collect();
    for answers in join_all(batches.iter().map(|batch| store.claim(batch))).await {
        assert!(matches!(answers.unwrap()[0], Ok(Claim::Claimed { .. })));
    }
    becomes(&harness, "SELECT count(*) FROM {table}", 50).await;
}

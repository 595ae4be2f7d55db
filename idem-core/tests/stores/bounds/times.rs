//! A builder of a store refuses a time and names it, or works with it.
//!
//! Run alone: `cargo test -p idem-core --all-features --test stores -- bounds::times::`

use std::fmt::Debug;
use std::time::Duration;

use idem_core::clock::extremes;
use idem_core::store::Purge;
use idem_core::{
    MySqlOutbox, MySqlStore, PostgresOutbox, PostgresStore, RedisStore, SqliteOutbox, SqliteStore, StoreError,
};

use crate::support::sqlite::Sqlite;

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_hours(24);
const MILLISECOND: Duration = Duration::from_millis(1);

/// Nobody is there: what is not refused is found to be out of reach.
const NOBODY: [&str; 3] =
    ["redis://127.0.0.1:1", "postgres://idem@127.0.0.1:1/idem", "mysql://idem@127.0.0.1:1/idem"];

fn expect<T: Debug>(connected: Result<T, StoreError>, what: &str, time: Duration, is_fit: bool) {
    match connected {
        Ok(_) => assert!(is_fit, "{what} of {time:?} was taken"),
        Err(error) if error.is_config() => {
            assert!(!is_fit, "{what} of {time:?}: {error}");
            assert!(error.to_string().contains(&format!("`{what}` is ")), "{error}");
        }
        Err(error) => assert!(is_fit && error.is_unavailable(), "{what} of {time:?}: {error:?}"),
    }
}

#[tokio::test]
async fn every_wait_for_a_server_is_refused_or_works() {
    let [redis, postgres, mysql] = NOBODY;
    for time in extremes() {
        let is_fit = (MILLISECOND..=DAY).contains(&time);
        let check = |connected| expect(connected, "response_timeout", time, is_fit);
        check(RedisStore::builder(redis).response_timeout(time).connect().await.map(drop));
        check(PostgresStore::builder(postgres).response_timeout(time).connect().await.map(drop));
        check(PostgresStore::builder(postgres).response_timeout(time).migrate().await.map(drop));
        check(MySqlStore::builder(mysql).response_timeout(time).connect().await.map(drop));
        check(MySqlStore::builder(mysql).response_timeout(time).migrate().await.map(drop));
        check(PostgresOutbox::builder(postgres).response_timeout(time).connect().await.map(drop));
        check(MySqlOutbox::builder(mysql).response_timeout(time).connect().await.map(drop));
        let file = Sqlite::new();
        check(SqliteStore::builder(file.path()).response_timeout(time).open().await.map(drop));
        check(SqliteOutbox::builder(file.path()).response_timeout(time).open().await.map(drop));
    }
}

#[tokio::test]
async fn every_time_of_a_purge_and_of_an_outbox_is_refused_or_works() {
    let file = Sqlite::with_tables().await;
    let outbox = || SqliteOutbox::builder(file.path()).resend_after(SECOND).retention(Duration::MAX);
    outbox().migrate().await.unwrap();
    for time in extremes() {
        let is_fit = time >= MILLISECOND;
        let check = |opened, what| expect(opened, what, time, is_fit);
        let store = SqliteStore::builder(file.path()).purge(Purge::default().every(time).rows(u32::MAX));
        check(store.open().await.map(drop), "purge.every");
        check(outbox().resend_after(time).open().await.map(drop), "resend_after");
        check(outbox().sweep_every(time).open().await.map(drop), "sweep_every");
        check(outbox().resend_after(MILLISECOND).retention(time).open().await.map(drop), "retention");
    }
}

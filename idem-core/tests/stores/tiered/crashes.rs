//! A database forgets commits that it had confirmed, and the cache in front of it acks none of them.
//!
//! Run alone: `cargo test -p idem-core --all-features --test stores -- tiered::crashes::`

use std::process::Command;
use std::time::Duration;

use idem_core::store::{Claim, ClaimRequest, Incarnation, Store};
use idem_core::{MemoryStore, RedisStore, SqliteStore, TieredStore};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqliteSynchronous};
use sqlx::{Connection as _, Row as _};
use tokio::time::sleep;

use crate::support::logs;
use crate::support::mysql::MySql;
use crate::support::postgres::Postgres;
use crate::support::proxy::Proxy;
use crate::support::records::{claim, claims, done, until};
use crate::support::redis_server::Server;
use crate::support::services::Services;
use crate::support::watched::{Watched, until_cached};

/// A PostgreSQL that confirms commits which are never on the disk: whoever writes them there in the background is stopped.
async fn forgetful_postgres() -> (Services, Postgres) {
    let services = Services::start("postgres");
    let postgres = Postgres::empty_on(services.variable("IDEM_TEST_POSTGRES_URL")).await;
    postgres.builder().migrate().await.unwrap();
    for setting in ["synchronous_commit = off", "bgwriter_lru_maxpages = 0", "checkpoint_timeout = '1d'"] {
        postgres.execute(&format!("ALTER SYSTEM SET {setting}")).await;
    }
    postgres.execute("SELECT pg_reload_conf()").await;
    until("the settings count", async || {
        postgres
            .number("SELECT count(*) FROM pg_settings WHERE name = 'synchronous_commit' AND setting = 'off'")
            .await
            == 1
    })
    .await;
    let writer = "SELECT pid::int8 FROM pg_stat_activity WHERE backend_type = 'walwriter'";
    signal("STOP", postgres.number(writer).await);
    (services, postgres)
}

fn signal(name: &str, process: i64) {
    assert!(Command::new("kill").args(["-s", name, &process.to_string()]).status().unwrap().success());
}

/// Keys that the database has confirmed and the cache knows.
async fn completed(store: &TieredStore, database: &Watched) -> Vec<ClaimRequest> {
    let keys = claims(11);
    for key in &keys {
        done(store, key).await;
        until_cached(store, database, key).await;
    }
    keys
}

/// Asks for duplicates until all that the database has forgotten are to be done again.
async fn forgotten_keys_are_done_again(
    store: &TieredStore,
    postgres: &Postgres,
    mut keys: Vec<ClaimRequest>,
) {
    let kept = postgres.number("SELECT count(*) FROM {table} WHERE state = 2").await;
    let kept = usize::try_from(kept).unwrap();
    assert!(kept < keys.len(), "the server has lost nothing, so this shows nothing");
    // The cache's entries of this life count again.
    until("the cache is trusted", async || {
        let one = claims(1).remove(0);
        done(store, &one).await;
        sleep(Duration::from_millis(50)).await;
        store.known(&one.key).is_some()
    })
    .await;
    let keys = tokio::sync::Mutex::new(&mut keys);
    until("what was forgotten is done again", async || {
        let mut keys = keys.lock().await;
        let mut left = Vec::new();
        for key in keys.drain(..) {
            if matches!(claim(store, &key).await, Claim::Completed { .. }) {
                left.push(key);
            }
        }
        **keys = left;
        keys.len() == kept
    })
    .await;
}

#[tokio::test]
async fn what_a_crash_took_back_is_done_again_and_not_acked_by_the_cache() {
    let (services, postgres) = forgetful_postgres().await;
    let database = Watched::new(postgres.connect().await);
    let store = TieredStore::new(MemoryStore::new(), database.clone()).await.unwrap();
    let keys = completed(&store, &database).await;
    services.kill("postgres");
    services.restart("postgres");
    forgotten_keys_are_done_again(&store, &postgres, keys).await;
}

/// The server's own process goes on, and its memory is made anew with all that was not on the disk.
#[tokio::test]
async fn what_a_crash_of_one_backend_took_back_is_done_again() {
    let (_services, postgres) = forgetful_postgres().await;
    let database = Watched::new(postgres.connect().await);
    let store = TieredStore::new(MemoryStore::new(), database.clone()).await.unwrap();
    let mut session = postgres.session().await;
    let keys = completed(&store, &database).await;
    let backend = sqlx::query("SELECT pg_backend_pid()::int8").fetch_one(&mut session).await.unwrap().get(0);
    signal("KILL", backend);
    until("the server is back", async || sqlx::PgConnection::connect(&postgres.url).await.is_ok()).await;
    forgotten_keys_are_done_again(&store, &postgres, keys).await;
}

/// A broken connection is replaced within the call, so that nothing fails by which the cache would notice.
#[tokio::test]
async fn a_connection_that_broke_without_a_failed_call_is_a_reason_to_ask_again() {
    let postgres = Postgres::new().await;
    let proxy = Proxy::before(&postgres.url).await;
    let url = proxy.url(&postgres.url);
    let database = Watched::new(Postgres { url, ..postgres.clone() }.connect().await);
    let store = TieredStore::new(MemoryStore::new(), database.clone()).await.unwrap();
    let key = claims(1).remove(0);
    done(&store, &key).await;
    until_cached(&store, &database, &key).await;
    proxy.reset();
    database.claim(&claims(1)).await.unwrap().remove(0).unwrap();
    let asked = database.asked();
    let known = store.known(&key.key);
    assert!(known.is_none() || database.asked() > asked, "the server may have crashed in between");
    until_cached(&store, &database, &key).await;
}

async fn incarnation(store: &dyn Store) -> Incarnation {
    store.incarnation().await.unwrap()
}

/// An incarnation that stayed the same would hide losses, and one that wobbled would always empty the cache.
#[tokio::test]
async fn each_start_of_a_server_is_an_incarnation_and_nothing_else_is() {
    let services = Services::start("mariadb");
    let maria = MySql::new_on(services.variable("IDEM_TEST_MYSQL_URL")).await;
    let store = maria.connect().await;
    let first = incarnation(&store).await;
    for _ in 0..30 {
        sleep(Duration::from_millis(97)).await;
        assert_eq!(incarnation(&store).await, first);
    }
    assert_eq!(incarnation(&maria.connect().await).await, first, "all sessions agree");
    services.kill("mariadb");
    services.restart("mariadb");
    assert_ne!(incarnation(&store).await, first);
}

#[tokio::test]
async fn an_incarnation_of_postgres_holds_over_sessions_of_any_time_zone() {
    let postgres = Postgres::new().await;
    let first = incarnation(&postgres.connect().await).await;
    let url = format!("{}?options=-c%20TimeZone%3DAsia%2FShanghai%20-c%20DateStyle%3DGerman", postgres.url);
    let elsewhere = Postgres { url, ..postgres.clone() }.connect().await;
    for _ in 0..20 {
        sleep(Duration::from_millis(97)).await;
        assert_eq!(incarnation(&elsewhere).await, first);
    }
}

fn warnings(words: &[&str]) -> usize {
    logs::saying(&[&["WARN", "is not durable"], words].concat()).len()
}

#[tokio::test]
async fn a_server_that_confirms_too_early_is_warned_about_once() {
    logs::gather();
    let (services, postgres) = forgetful_postgres().await;
    let at = services.variable("IDEM_TEST_POSTGRES_URL");
    let at = at.rsplit_once('@').unwrap().1;
    postgres.connect().await;
    assert_eq!(warnings(&[at, "synchronous_commit", "off"]), 1);
    assert_eq!(warnings(&[at]), 1, "fsync and full_page_writes are on");
}

#[tokio::test]
async fn mariadb_that_does_not_flush_is_warned_about() {
    logs::gather();
    let services = Services::start("mariadb");
    let maria = MySql::new_on(services.variable("IDEM_TEST_MYSQL_URL")).await;
    let at = maria.url.rsplit_once('@').unwrap().1.to_owned();
    maria.connect().await;
    assert_eq!(warnings(&[&at]), 0);
    maria.execute("SET GLOBAL innodb_flush_log_at_trx_commit = 2").await;
    maria.connect().await;
    assert_eq!(warnings(&[&at, "innodb_flush_log_at_trx_commit", "2"]), 1);
}

#[tokio::test]
async fn a_file_that_is_not_synced_is_warned_about() {
    logs::gather();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("lazy.db");
    let options = SqliteConnectOptions::new().filename(&file).create_if_missing(true);
    let options = options.journal_mode(SqliteJournalMode::Wal).synchronous(SqliteSynchronous::Normal);
    let pool = SqlitePool::connect_with(options).await.unwrap();
    let name = file.display().to_string();
    SqliteStore::open(&file).await.unwrap();
    assert_eq!(warnings(&[&name]), 0, "idem's own connections sync");
    SqliteStore::pool(pool).open().await.unwrap();
    assert_eq!(warnings(&[&name, "synchronous", "FULL"]), 1);
}

#[tokio::test]
async fn a_redis_that_forgets_at_a_crash_is_warned_about() {
    logs::gather();
    let (lazy, durable) = (Server::start(&[]), Server::start(&["--appendonly", "yes"]));
    RedisStore::connect(lazy.url()).await.unwrap();
    RedisStore::connect(durable.url()).await.unwrap();
    let of = |server: &Server| warnings(&["appendonly", &format!("127.0.0.1:{}", server.port())]);
    assert_eq!((of(&lazy), of(&durable)), (1, 0));
}

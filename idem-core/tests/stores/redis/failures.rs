//! The Redis store with servers that are wrong, gone, silent or full.
//!
//! Run alone: `cargo test -p idem-core --features conformance,redis --test stores -- redis::failures::`

use std::sync::Arc;
use std::time::{Duration, Instant};

use idem_core::admin::Admin;
use idem_core::store::{Claim, PageRequest, RecordFilter};
use idem_core::{RedisStore, Store as _, StoreError};

use crate::support::logs;
use crate::support::records::claims;
use crate::support::redis_server::{Server, free_port};

async fn refused(url: String) -> StoreError {
    let start = Instant::now();
    let error = RedisStore::connect(url).await.unwrap_err();
    assert!(start.elapsed() < Duration::from_secs(4), "it took {:?}", start.elapsed());
    error
}

#[tokio::test]
async fn an_unreachable_address_is_named_without_the_password() {
    let port = free_port();
    let error = refused(format!("redis://user:hunter2@127.0.0.1:{port}/")).await;
    assert!(error.is_unavailable(), "{error:?}");
    assert!(error.to_string().contains(&format!("127.0.0.1:{port}")), "{error}");
    assert!(!format!("{error:?}").contains("hunter2"));
}

#[tokio::test]
async fn a_silent_address_is_given_up_in_time() {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let error = refused(format!("redis://{}/", listener.local_addr().unwrap())).await;
    assert!(error.is_unavailable(), "{error:?}");
}

#[tokio::test]
async fn a_wrong_password_a_missing_one_and_a_wrong_database_are_settings() {
    let server = Server::start(&["--requirepass", "hunter2", "--databases", "4"]);
    for url in [
        server.url(),
        server.url_with(":wrong@", ""),
        server.url_with("nobody:hunter2@", ""),
        server.url_with(":hunter2@", "4"),
    ] {
        let error = refused(url).await;
        assert!(error.is_config(), "{error:?}");
        assert!(!format!("{error:?}").contains("hunter2"));
    }
    let store = RedisStore::connect(server.url_with(":hunter2@", "3")).await.unwrap();
    store.claim(&claims(1)).await.unwrap().remove(0).unwrap();
}

#[tokio::test]
async fn what_is_no_url_is_a_setting_and_not_shown() {
    let error = refused("hunter2 is no url".to_owned()).await;
    assert!(error.is_config() && !format!("{error:?}").contains("hunter2"), "{error:?}");
    assert!(RedisStore::cluster(Vec::<String>::new()).connect().await.unwrap_err().is_config());
}

#[tokio::test]
async fn a_user_without_the_right_to_run_scripts_is_a_setting() {
    // They lack all scripts, new scripts, writing in scripts, and the keys.
    let users: [&[&str]; 4] = [
        &["~*", "+info", "+ping", "+client"],
        &["~*", "+@all", "-eval"],
        &["~*", "+info", "+get", "+mget", "+eval", "+evalsha", "+time"],
        &["~other:*", "+@all"],
    ];
    for rights in users {
        let user = [&["--user", "poor", "on", ">pw"], rights].concat();
        let server = Server::start(&user);
        let error = refused(server.url_with("poor:pw@", "")).await;
        assert!(error.is_config() && error.to_string().contains("+evalsha"), "{rights:?}: {error:?}");
    }
}

#[tokio::test]
async fn a_user_with_the_rights_that_are_advised_is_let_in() {
    let advised = "~idem:* +eval +evalsha +get +getrange +mget +set +setrange +del +pexpire +time +scan +hget +hset +hdel \
                   +hgetall +xadd +xrevrange +cluster|slots +info +ping";
    let user: Vec<_> = ["--user", "poor", "on", ">pw"].into_iter().chain(advised.split(' ')).collect();
    let server = Server::start(&user);
    let store = RedisStore::connect(server.url_with("poor:pw@", "")).await.unwrap();
    for answer in store.claim(&claims(3)).await.unwrap() {
        answer.unwrap();
    }
    // An operator needs no more.
    let admin = Admin::new(Arc::new(store.clone()), "a person");
    admin.done(&claims(1)[0].key, "a test").await.unwrap();
    assert_eq!(admin.list(RecordFilter::new().in_doubt(false)).all().await.unwrap().len(), 4);
    assert_eq!((admin.members().await.unwrap().len(), admin.trail(None, 9).await.unwrap().len()), (1, 2));
    let error = RedisStore::builder(server.url_with("poor:pw@", "")).key_prefix("shop:").connect().await;
    assert!(error.unwrap_err().to_string().contains(advised));
    assert!(include_str!("../../../src/store/redis/redis.md").contains(advised));
}

/// It does not look as if there were no records.
#[tokio::test]
async fn a_listing_that_may_not_read_is_told() {
    for missing in ["-getrange", "-get", "-scan", "-time"] {
        let server = Server::start(&["--user", "poor", "on", ">pw", "~*", "+@all"]);
        let store = RedisStore::connect(server.url_with("poor:pw@", "")).await.unwrap();
        store.claim(&claims(3)).await.unwrap();
        let rights = redis::cmd("ACL").arg("SETUSER").arg("poor").arg(missing).to_owned();
        rights
            .exec_async(&mut server.client().get_multiplexed_async_connection().await.unwrap())
            .await
            .unwrap();
        let listed = store.list(&RecordFilter::new().in_doubt(false), &PageRequest::default()).await;
        let error = listed.expect_err(missing);
        assert!(error.is_config() && error.to_string().contains("+getrange"), "{missing}: {error:?}");
    }
}

#[tokio::test]
async fn a_command_that_was_renamed_is_a_setting() {
    for command in ["EVAL", "EVALSHA", "SET", "GET"] {
        let server = Server::start(&["--rename-command", command, ""]);
        let error = refused(server.url()).await;
        assert!(error.is_config() && error.to_string().contains("rename-command"), "{command}: {error:?}");
    }
}

#[tokio::test]
async fn a_replica_is_a_setting() {
    let master = Server::start(&[]);
    let replica = Server::start(&["--replicaof", &format!("127.0.0.1 {}", master.port())]);
    let error = refused(replica.url()).await;
    assert!(error.is_config() && error.to_string().contains("replica"), "{error:?}");
    let blind = Server::start(&[
        "--replicaof",
        &format!("127.0.0.1 {}", master.port()),
        "--user",
        "blind",
        "on",
        ">pw",
        "~*",
        "+@all",
        "-info",
    ]);
    let error = refused(blind.url_with("blind:pw@", "")).await;
    assert!(error.to_string().contains("replica"), "{error:?}");
}

#[tokio::test]
async fn a_server_that_takes_no_writes_is_told_at_the_start() {
    let lonely = Server::start(&["--min-replicas-to-write", "1"]);
    let error = refused(lonely.url()).await;
    assert!(error.is_unavailable() && error.to_string().contains("min-replicas-to-write"), "{error:?}");
    let full = Server::start(&["--maxmemory", "1"]);
    let error = refused(full.url()).await;
    assert!(error.is_full() && error.to_string().contains("maxmemory"), "{error:?}");
}

#[tokio::test]
async fn a_probe_leaves_nothing_behind() {
    let server = Server::start(&[]);
    RedisStore::connect(server.url()).await.unwrap();
    let mut connection = server.client().get_multiplexed_async_connection().await.unwrap();
    let left: i64 = redis::cmd("DBSIZE").query_async(&mut connection).await.unwrap();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn an_eviction_policy_that_forgets_records_is_warned_about() {
    logs::gather();
    let (bad, good) = (Server::start(&["--maxmemory-policy", "allkeys-lru"]), Server::start(&[]));
    RedisStore::connect(bad.url()).await.unwrap();
    RedisStore::connect(good.url()).await.unwrap();
    let warnings = |server: &Server| logs::saying(&["WARN", "noeviction", &server.port().to_string()]).len();
    assert_eq!((warnings(&bad), warnings(&good)), (1, 0));
}

#[tokio::test]
async fn a_full_server_says_full_and_still_knows_its_records() {
    let server = Server::start(&[]);
    let store = RedisStore::connect(server.url()).await.unwrap();
    let done = claims(1);
    store.claim(&done).await.unwrap();
    let mut connection = server.client().get_multiplexed_async_connection().await.unwrap();
    let mut limit = redis::cmd("CONFIG");
    limit.arg("SET").arg("maxmemory").arg(1).exec_async(&mut connection).await.unwrap();
    let mut batch = claims(3);
    batch[1] = claims(1).remove(0);
    batch[1].key = done[0].key.clone();
    let answers = store.claim(&batch).await.unwrap();
    for (place, answer) in answers.into_iter().enumerate() {
        if place == 1 {
            assert!(matches!(answer.unwrap(), Claim::InProgress { .. }));
        } else {
            assert!(answer.unwrap_err().is_full());
        }
    }
    let mut limit = redis::cmd("CONFIG");
    limit.arg("SET").arg("maxmemory").arg(0).exec_async(&mut connection).await.unwrap();
    for answer in store.claim(&claims(3)).await.unwrap() {
        answer.unwrap();
    }
}

/// Asks until there is an answer.
async fn answers_again(store: &RedisStore) {
    let start = Instant::now();
    while let Err(error) = store.claim(&claims(2)).await {
        assert!(error.is_unavailable(), "{error:?}");
        assert!(start.elapsed() < Duration::from_secs(15), "still {error:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_restarted_server_is_found_again_and_gets_its_scripts_back() {
    let mut server = Server::start(&[]);
    let store = RedisStore::connect(server.url()).await.unwrap();
    store.claim(&claims(2)).await.unwrap();
    server.kill();
    let start = Instant::now();
    for _ in 0..3 {
        assert!(store.claim(&claims(2)).await.unwrap_err().is_unavailable());
    }
    assert!(start.elapsed() < Duration::from_secs(7), "{:?}", start.elapsed());
    server.restart();
    answers_again(&store).await;
}

#[tokio::test]
async fn a_restart_that_no_call_noticed_costs_no_error() {
    let mut server = Server::start(&[]);
    let store = RedisStore::connect(server.url()).await.unwrap();
    store.claim(&claims(2)).await.unwrap();
    server.kill();
    server.restart();
    store.claim(&claims(2)).await.unwrap();
}

#[tokio::test]
async fn a_server_that_hangs_is_unavailable_in_time_and_found_again() {
    let server = Server::start(&[]);
    let timeout = Duration::from_millis(500);
    let store = RedisStore::builder(server.url()).response_timeout(timeout).connect().await.unwrap();
    store.claim(&claims(2)).await.unwrap();
    server.pause();
    for _ in 0..3 {
        let start = Instant::now();
        let error = store.claim(&claims(2)).await.unwrap_err();
        assert!(error.is_unavailable(), "{error:?}");
        assert!(start.elapsed() >= timeout && start.elapsed() < timeout * 4, "{:?}", start.elapsed());
    }
    server.go_on();
    answers_again(&store).await;
}

#[tokio::test]
async fn a_claim_whose_reply_was_lost_is_repaired_by_asking_again() {
    let server = Server::start(&[]);
    let timeout = Duration::from_millis(500);
    let store = RedisStore::builder(server.url()).response_timeout(timeout).connect().await.unwrap();
    store.claim(&claims(1)).await.unwrap();
    let batch = claims(4);
    server.pause();
    assert!(store.claim(&batch).await.unwrap_err().is_unavailable());
    server.go_on();
    // The server has the command in its socket and runs it, though nobody waits for the answer.
    answers_again(&store).await;
    for answer in store.claim(&batch).await.unwrap() {
        assert!(matches!(answer.unwrap(), Claim::Claimed { attempt: 1, .. }));
    }
}

//! The Redis store on a single server.
//!
//! Run alone: `cargo test -p idem-core --features conformance,redis --test stores -- redis::single::`

use std::time::Instant;

use idem_core::store::Claim;
use idem_core::{RedisStore, Store as _};
use redis::Value;

use crate::support::records::{claim, claims, done};
use crate::support::redis::{Harnessed, single_url};
use crate::support::redis_server::Server;

idem_core::conformance_tests!(Harnessed::single());

#[tokio::test]
async fn a_batch_of_32_claims_is_one_command() {
    let server = Server::start(&[]);
    let store = RedisStore::connect(server.url()).await.unwrap();
    store.claim(&claims(1)).await.unwrap();
    let before = server.calls();
    for answer in store.claim(&claims(32)).await.unwrap() {
        assert!(matches!(answer.unwrap(), Claim::Claimed { .. }));
    }
    let after = server.calls();
    let more = |command: &str| after.get(command).unwrap_or(&0) - before.get(command).unwrap_or(&0);
    assert_eq!((more("evalsha"), more("eval"), more("script|load")), (1, 0, 0));
    // For fresh keys the script itself calls one write for each.
    assert_eq!((more("get"), more("set"), more("time")), (0, 32, 1));
}

#[tokio::test]
async fn a_value_of_another_type_is_a_record_error_and_stays() {
    let harness = Harnessed::single();
    let store = RedisStore::connect(single_url()).await.unwrap();
    let batch = claims(3);
    let raw_key = [b"idem:", &batch[1].key.to_bytes()[..]].concat();
    harness.raw.query(redis::cmd("RPUSH").arg(&raw_key).arg("a list")).await.unwrap();
    let mut answers = store.claim(&batch).await.unwrap();
    assert!(answers.remove(1).unwrap_err().is_record());
    for answer in answers {
        answer.unwrap();
    }
    assert!(store.read(&batch[1].key).await.unwrap_err().is_record());
    assert!(store.remove(&batch[1].key, None).await.unwrap_err().is_record());
    let kind = harness.raw.query(redis::cmd("TYPE").arg(&raw_key)).await.unwrap();
    assert_eq!(kind, Value::SimpleString("list".into()));
    harness.raw.query(redis::cmd("DEL").arg(&raw_key)).await.unwrap();
}

#[tokio::test]
async fn a_record_expires_after_lease_and_retention() {
    let harness = Harnessed::single();
    let store = RedisStore::connect(single_url()).await.unwrap();
    let batch = claims(1);
    store.claim(&batch).await.unwrap();
    let raw_key = [b"idem:", &batch[0].key.to_bytes()[..]].concat();
    let value = harness.raw.query(redis::cmd("PTTL").arg(&raw_key)).await.unwrap();
    let left: i64 = redis::from_redis_value(value).unwrap();
    assert!((80_000..=90_000).contains(&left), "{left} ms are left of 30 s and 60 s");
}

/// As a failover does with what the new master had not received.
#[tokio::test]
async fn what_redis_forgot_is_done_again() {
    let server = Server::start(&[]);
    let store = RedisStore::connect(server.url()).await.unwrap();
    let one = claims(1).remove(0);
    done(&store, &one).await;
    assert!(matches!(claim(&store, &one).await, Claim::Completed { .. }));
    redis::cmd("FLUSHALL").exec(&mut server.client().get_connection().unwrap()).unwrap();
    assert!(matches!(claim(&store, &one).await, Claim::Claimed { .. }));
}

#[tokio::test]
async fn another_prefix_is_another_store() {
    let batch = claims(1);
    for prefix in ["one:", "two:"] {
        let store = RedisStore::builder(single_url()).key_prefix(prefix).connect().await.unwrap();
        let answer = store.claim(&batch).await.unwrap().remove(0).unwrap();
        assert!(matches!(answer, Claim::Claimed { .. }));
        assert!(store.remove(&batch[0].key, None).await.unwrap());
    }
}

/// Whatever runtime a store was made on and is used from, and however long that one lives.
#[test]
fn a_store_outlives_the_runtime_that_connected_it() {
    let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();
    let store = runtime().block_on(RedisStore::connect(single_url())).unwrap();
    for _ in 0..3 {
        runtime().block_on(store.claim(&claims(5))).unwrap();
    }
    futures_util::future::FutureExt::now_or_never(store.claim(&claims(5)));
}

#[tokio::test]
async fn redis_as_it_is_debugged_and_displayed_shows_no_password() {
    let server = Server::start(&["--requirepass", "hunter2"]);
    let url = server.url_with("user-name:hunter3@", "");
    let builder = RedisStore::builder(url.clone()).password("hunter3");
    assert!(!format!("{builder:?}").contains("hunter"));
    let error = builder.connect().await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains("hunter"), "{error:?}");
    let store = RedisStore::connect(server.url_with(":hunter2@", "")).await.unwrap();
    assert!(!format!("{store:?}").contains("hunter"), "{store:?}");
}

/// How many keys a second; a figure for the log and no bound.
#[tokio::test]
async fn claims_in_batches_of_32_are_measured() {
    let store = RedisStore::connect(single_url()).await.unwrap();
    let start = Instant::now();
    let batches: Vec<_> = (0..200).map(|_| claims(32)).collect();
    futures_util::future::join_all(batches.iter().map(|batch| store.claim(batch))).await;
    println!("{:.0} claims/s", 6_400.0 / start.elapsed().as_secs_f64());
}

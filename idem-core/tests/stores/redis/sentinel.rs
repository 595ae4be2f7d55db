//! The Redis store on a server behind Sentinels.
//!
//! Run alone: `cargo test -p idem-core --features conformance,redis --test stores -- redis::sentinel::`

use std::time::{Duration, Instant};

use idem_core::store::{Claim, CompleteRequest};
use idem_core::{Fence, RedisStore, Store as _};

use crate::support::records::claims;
use crate::support::redis::{Harnessed, sentinel_master, sentinel_urls};
use crate::support::redis_server::Server;

idem_core::conformance_tests!(Harnessed::sentinel().await);

#[tokio::test]
async fn an_unknown_master_is_named() {
    let error = RedisStore::sentinel(sentinel_urls(), "nobody").connect().await.unwrap_err();
    assert!(error.to_string().contains("nobody"), "{error}");
}

#[tokio::test]
async fn one_reachable_sentinel_is_enough() {
    let mut urls = sentinel_urls();
    urls.insert(0, "redis://127.0.0.1:1/".to_owned());
    let store = RedisStore::sentinel(urls, sentinel_master()).connect().await.unwrap();
    store.claim(&claims(2)).await.unwrap();
}

#[tokio::test]
async fn a_failover_is_followed_to_the_new_master() {
    let mut master = Server::start(&[]);
    let replica = Server::start(&["--replicaof", "127.0.0.1", &master.port().to_string()]);
    let sentinel = start_sentinel(&master);
    wait_for_replica(&sentinel).await;
    let store = RedisStore::sentinel([sentinel.url()], "own").connect().await.unwrap();
    let done = claims(1);
    let (key, token) = (done[0].key.clone(), done[0].token);
    store.claim(&done).await.unwrap();
    let retention = Duration::from_mins(1);
    let complete = CompleteRequest::new(key, token, Fence(1), retention, idem_core::MemberId::random());
    store.complete(&[complete]).await.unwrap();
    wait_until_replicated(&replica).await;
    master.kill();
    let start = Instant::now();
    let mut again = done.clone();
    again[0].token = claims(1)[0].token;
    let answer = loop {
        match store.claim(&again).await {
            Ok(mut answers) => break answers.remove(0).unwrap(),
            Err(error) => assert!(error.is_unavailable(), "{error:?}"),
        }
        assert!(start.elapsed() < Duration::from_secs(30), "no new master in {:?}", start.elapsed());
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert!(matches!(answer, Claim::Completed { .. }), "{answer:?}");
    store.claim(&claims(3)).await.unwrap();
    assert!(replica.calls()["set"] > 0, "the replica is master now");
}

/// The old master lives and is a replica now: its refusal to write is noticed.
#[tokio::test]
async fn a_master_that_was_demoted_is_left() {
    let master = Server::start(&[]);
    let replica = Server::start(&["--replicaof", "127.0.0.1", &master.port().to_string()]);
    let sentinel = start_sentinel(&master);
    wait_for_replica(&sentinel).await;
    let store = RedisStore::sentinel([sentinel.url()], "own").connect().await.unwrap();
    store.claim(&claims(1)).await.unwrap();
    wait_until_replicated(&replica).await;
    let mut connection = sentinel.client().get_multiplexed_async_connection().await.unwrap();
    redis::cmd("SENTINEL").arg("failover").arg("own").exec_async(&mut connection).await.unwrap();
    let start = Instant::now();
    while replica.calls().get("evalsha").is_none_or(|calls| *calls < 3) {
        match store.claim(&claims(3)).await {
            Ok(_) => {}
            Err(error) => assert!(error.is_unavailable(), "{error:?}"),
        }
        assert!(start.elapsed() < Duration::from_secs(30), "still at the old master");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn start_sentinel(master: &Server) -> Server {
    let settings = format!(
        "sentinel monitor own 127.0.0.1 {} 1\nsentinel down-after-milliseconds own 500\nsentinel failover-timeout own 5000\n",
        master.port()
    );
    Server::start_sentinel(&settings)
}

async fn wait_for_replica(sentinel: &Server) {
    let mut connection = sentinel.client().get_multiplexed_async_connection().await.unwrap();
    let start = Instant::now();
    loop {
        let mut ask = redis::cmd("SENTINEL");
        ask.arg("replicas").arg("own");
        let replicas: Vec<std::collections::HashMap<String, String>> =
            ask.query_async(&mut connection).await.unwrap();
        if replicas
            .iter()
            .any(|replica| replica.get("master-link-status").is_some_and(|status| status == "ok"))
        {
            return;
        }
        assert!(start.elapsed() < Duration::from_secs(30), "the sentinel sees no replica");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn wait_until_replicated(replica: &Server) {
    let mut connection = replica.client().get_multiplexed_async_connection().await.unwrap();
    let start = Instant::now();
    while redis::cmd("DBSIZE").query_async::<u64>(&mut connection).await.unwrap() == 0 {
        assert!(start.elapsed() < Duration::from_secs(20), "nothing was replicated");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
}

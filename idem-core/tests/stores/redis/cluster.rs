//! The Redis store on Redis Cluster, also while slots and masters move.
//!
//! Run alone: `cargo test -p idem-core --features conformance,redis --test stores -- redis::cluster::`

use std::time::{Duration, Instant};

use idem_core::store::Claim;
use idem_core::{RedisStore, Store as _, StoreError};

use crate::support::records::claims;
use crate::support::redis::{Harnessed, cluster_urls, single_url};
use crate::support::redis_server::{Server, free_port};

idem_core::conformance_tests!(Harnessed::cluster());

#[tokio::test]
async fn a_single_server_is_refused_as_a_cluster() {
    let error = RedisStore::cluster([single_url()]).connect().await.unwrap_err();
    assert!(error.is_config(), "{error:?}");
    assert!(error.to_string().contains("RedisStore::connect"), "{error}");
}

#[tokio::test]
async fn a_clusters_node_is_refused_as_a_single_server() {
    let error = RedisStore::connect(cluster_urls().remove(0)).await.unwrap_err();
    assert!(error.is_config(), "{error:?}");
    assert!(error.to_string().contains("RedisStore::cluster"), "{error}");
}

#[tokio::test]
async fn one_reachable_node_is_enough() {
    let urls = ["redis://127.0.0.1:1/".to_owned(), cluster_urls().remove(1)];
    let store = RedisStore::cluster(urls).connect().await.unwrap();
    for answer in store.claim(&claims(100)).await.unwrap() {
        answer.unwrap();
    }
}

#[tokio::test]
async fn a_prefix_with_a_hash_tag_keeps_a_batch_on_one_server() {
    let store = RedisStore::cluster(cluster_urls()).key_prefix("{idem}:").connect().await.unwrap();
    for answer in store.claim(&claims(100)).await.unwrap() {
        answer.unwrap();
    }
}

/// A cluster of the test's own, of three masters.
async fn own_cluster() -> Vec<Server> {
    let start = || {
        let bus = free_port().to_string();
        Server::start(&["--cluster-enabled", "yes", "--cluster-port", &bus, "--cluster-node-timeout", "2000"])
    };
    let servers: Vec<Server> = (0..3).map(|_| start()).collect();
    let nodes = servers.iter().map(|server| format!("127.0.0.1:{}", server.port()));
    let mut create = std::process::Command::new("redis-cli");
    create.args(["--cluster", "create"]).args(nodes).arg("--cluster-yes");
    let output = create.output().expect("redis-cli is not installed: scripts/services installs it");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    for server in &servers {
        let mut connection = server.client().get_multiplexed_async_connection().await.unwrap();
        let start = Instant::now();
        loop {
            let mut info = redis::cmd("CLUSTER");
            let info: String = info.arg("INFO").query_async(&mut connection).await.unwrap();
            if info.contains("cluster_state:ok") {
                break;
            }
            assert!(start.elapsed() < Duration::from_secs(30), "{info}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    servers
}

/// Each in its turn refuses what the others do.
#[tokio::test]
async fn each_master_is_probed() {
    let servers = own_cluster().await;
    let urls = || servers.iter().map(Server::url);
    RedisStore::cluster(urls()).connect().await.unwrap();
    for server in &servers {
        let mut connection = server.client().get_multiplexed_async_connection().await.unwrap();
        let mut limit = async |bytes: u32| {
            let mut limit = redis::cmd("CONFIG");
            limit.arg("SET").arg("maxmemory").arg(bytes).exec_async(&mut connection).await.unwrap();
        };
        limit(1).await;
        assert!(RedisStore::cluster(urls()).connect().await.unwrap_err().is_full());
        limit(0).await;
    }
    for server in &servers {
        let mut connection = server.client().get_multiplexed_async_connection().await.unwrap();
        let left: i64 = redis::cmd("DBSIZE").query_async(&mut connection).await.unwrap();
        assert_eq!(left, 0);
    }
}

#[tokio::test]
async fn a_dead_node_fails_only_its_own_keys_and_is_found_again() {
    let mut servers = own_cluster().await;
    let store = RedisStore::cluster(servers.iter().map(Server::url)).connect().await.unwrap();
    for answer in store.claim(&claims(100)).await.unwrap() {
        answer.unwrap();
    }
    servers[2].kill();
    let answers = store.claim(&claims(300)).await.unwrap();
    let failed: Vec<_> = answers.iter().filter_map(|answer| answer.as_ref().err()).collect();
    assert!(failed.iter().all(|error| error.is_unavailable()), "{failed:?}");
    assert!((50..150).contains(&failed.len()), "{} of 300 failed: {:?}", failed.len(), failed.last());
    servers[2].restart();
    let start = Instant::now();
    while let Err(error) = all_claimed(&store).await {
        assert!(error.is_unavailable(), "{error:?}");
        assert!(start.elapsed() < Duration::from_secs(20), "the node is not used again");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test]
async fn a_cluster_that_was_all_down_is_found_again() {
    let mut servers = own_cluster().await;
    let store = RedisStore::cluster(servers.iter().map(Server::url)).connect().await.unwrap();
    store.claim(&claims(100)).await.unwrap();
    servers.iter_mut().for_each(Server::kill);
    let start = Instant::now();
    for _ in 0..3 {
        match store.claim(&claims(10)).await {
            Ok(answers) => {
                assert!(answers.iter().all(|answer| answer.as_ref().unwrap_err().is_unavailable()));
            }
            Err(error) => assert!(error.is_unavailable(), "{error:?}"),
        }
    }
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
    servers.iter_mut().for_each(Server::restart);
    let start = Instant::now();
    while let Err(error) = all_claimed(&store).await {
        assert!(error.is_unavailable(), "{error:?}");
        assert!(start.elapsed() < Duration::from_secs(20), "the cluster is not used again");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// A slot on its way to another node (ASK), and arrived there (MOVED), for a store that does not know of it yet.
#[tokio::test]
async fn a_slot_is_followed_while_it_moves_and_afterwards() {
    let servers = own_cluster().await;
    let connect = || RedisStore::cluster([servers[0].url()]).key_prefix("{moving}:").connect();
    let (store, late) = (connect().await.unwrap(), connect().await.unwrap());
    let slot: u16 = cluster_command(&servers[0], &["KEYSLOT", "moving"]).await;
    let mut ids = Vec::new();
    for server in &servers {
        ids.push(cluster_command::<String>(server, &["MYID"]).await);
    }
    let from = usize::from(slot) * 3 / 16_384;
    let (to, slot) = ((from + 1) % 3, slot.to_string());
    let () = cluster_command(&servers[to], &["SETSLOT", &slot, "IMPORTING", &ids[from]]).await;
    let () = cluster_command(&servers[from], &["SETSLOT", &slot, "MIGRATING", &ids[to]]).await;
    let calls = |server: &Server| server.calls().get("set").copied().unwrap_or_default();
    let before = [calls(&servers[from]), calls(&servers[to])];
    let moving = claims(3);
    for answer in store.claim(&moving).await.unwrap() {
        assert!(matches!(answer.unwrap(), Claim::Claimed { .. }));
    }
    let after = [calls(&servers[from]), calls(&servers[to])];
    assert_eq!([after[0] - before[0], after[1] - before[1]], [0, 3], "the keys are at the new owner");
    for node in [to, from] {
        let () = cluster_command(&servers[node], &["SETSLOT", &slot, "NODE", &ids[to]]).await;
    }
    for store in [&store, &late] {
        for answer in store.claim(&moving).await.unwrap() {
            assert!(matches!(answer.unwrap(), Claim::Claimed { .. }), "the same token claims again");
        }
    }
}

async fn cluster_command<T: redis::FromRedisValue>(server: &Server, arguments: &[&str]) -> T {
    let mut connection = server.client().get_multiplexed_async_connection().await.unwrap();
    redis::cmd("CLUSTER").arg(arguments).query_async(&mut connection).await.unwrap()
}

async fn all_claimed(store: &RedisStore) -> Result<(), StoreError> {
    for answer in store.claim(&claims(200)).await? {
        answer?;
    }
    Ok(())
}

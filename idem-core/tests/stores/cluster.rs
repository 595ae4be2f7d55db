//! Redis Cluster.

use super::redis_harness::{Harnessed, cluster_urls, single_url};
use super::single::claims;
use idem_core::{RedisStore, Store as _};

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

//! Whether the servers let idem do what it does.

use std::sync::Arc;

use futures_util::future::{BoxFuture, join_all};

use super::RedisStore;
use super::errors::store_error;
use super::route::ServerLinks;
use super::script::{self, RecordTerms, ScriptBatch};
use crate::key::RecordKey;
use crate::store::remote::on_runtime;
use crate::store::{StoreError, probe};

/// Enough random keys that each node of a cluster has one among them, if it has a hundredth of the slots.
const MOST_KEYS: usize = 2_000;

/// Probes each master. In a cluster, those that do not answer are left for later while another one does.
pub(super) async fn probe(store: &RedisStore) -> Result<(), StoreError> {
    let keys = keys(store)?;
    let mut unavailable = Ok(());
    let mut is_fit = false;
    for probed in join_all(keys.into_iter().map(|key| probe_one(store, key))).await {
        match probed {
            Ok(()) => is_fit = true,
            Err(error) if error.is_unavailable() => unavailable = Err(error),
            Err(error) => return Err(error),
        }
    }
    if is_fit { Ok(()) } else { unavailable }
}

/// A key for each master.
fn keys(store: &RedisStore) -> Result<Vec<RecordKey>, StoreError> {
    let ServerLinks::Cluster(cluster) = &store.0.route.ways else { return Ok(vec![probe::key()?]) };
    let (mut nodes, mut keys) = (Vec::new(), Vec::new());
    for _ in 0..MOST_KEYS {
        let key = probe::key()?;
        let mut raw = Vec::new();
        store.write_key(&key, &mut raw);
        let node = cluster.owner(store.0.route.group(&raw));
        if !nodes.contains(&node) {
            nodes.push(node);
            keys.push(key);
        }
        if nodes.len() >= cluster.count() {
            break;
        }
    }
    Ok(keys)
}

fn probe_one(store: &RedisStore, key: RecordKey) -> BoxFuture<'static, Result<(), StoreError>> {
    let store = store.clone();
    probe::patiently(move || {
        let (store, key) = (store.clone(), key.clone());
        Box::pin(async move {
            run_text(&store, &key).await?;
            probe::probe_key(&store, &key).await
        })
    })
}

/// A server that has the scripts still may lose them, and must take them again then. Nothing is removed: the key is new.
async fn run_text(store: &RedisStore, key: &RecordKey) -> Result<(), StoreError> {
    let mut batch = ScriptBatch::with_capacity(1);
    batch.push(RecordTerms::default(), |bytes| store.write_key(key, bytes), |_| {});
    let inner = Arc::clone(&store.0);
    let ran =
        on_runtime(async move { script::run_text(&inner.route, &script::REMOVE, &batch).await }).await?;
    ran.map_err(|error| store_error(error, &store.0.route.name))
}

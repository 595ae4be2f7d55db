//! What is checked before a server becomes a store.

use std::sync::Once;

use futures_util::future::join_all;
use redis::{ConnectionInfo, RedisResult, Value};
use tokio::time::timeout;

use super::errors::{store_error, timed_out};
use super::link::Connection;
use super::target::{CONNECT_TIMEOUT, Target};
use crate::store::StoreError;

const OLDEST: (u32, u32) = (6, 2);

/// Connects to a target whose servers pass the checks.
pub(super) async fn connect(target: &Target) -> Result<Connection, StoreError> {
    provide_crypto();
    if target.is_cluster() {
        check_nodes(target).await?;
        return target.connect().await.map_err(|error| store_error(error, target.name()));
    }
    let mut connection = target.connect().await.map_err(|error| store_error(error, target.name()))?;
    check(&mut connection, target, target.name()).await?;
    Ok(connection)
}

/// rustls asks the process for a provider, and panics where two are linked and none is chosen.
fn provide_crypto() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // An error says that the program has chosen one already.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    });
}

/// A cluster is fit when each node that answers is, and one does.
async fn check_nodes(target: &Target) -> Result<(), StoreError> {
    let checked = join_all(target.nodes().iter().map(|node| check_node(target, node))).await;
    let mut unavailable = None;
    let mut fit = false;
    for result in checked {
        match result {
            Ok(()) => fit = true,
            Err(error) if error.is_unavailable() => unavailable = Some(error),
            Err(error) => return Err(error),
        }
    }
    if fit { Ok(()) } else { unavailable.map_or(Ok(()), Err) }
}

async fn check_node(target: &Target, node: &ConnectionInfo) -> Result<(), StoreError> {
    let name = node.addr().to_string();
    let connecting = timeout(CONNECT_TIMEOUT, target.connect_node(node));
    let connected = connecting.await.unwrap_or_else(|_| Err(timed_out()));
    check(&mut connected.map_err(|error| store_error(error, &name))?, target, &name).await
}

async fn check(connection: &mut Connection, target: &Target, name: &str) -> Result<(), StoreError> {
    let info = redis::cmd("INFO");
    let asked = timeout(CONNECT_TIMEOUT, connection.query(&info));
    match asked.await.unwrap_or_else(|_| Err(timed_out())).and_then(text) {
        Ok(info) => check_info(&info, target.is_cluster(), name),
        Err(error) if error.to_string().contains("INFO") => {
            tracing::warn!(
                redis = name,
                "Redis does not let idem read INFO: its version and eviction policy are not checked"
            );
            Ok(())
        }
        Err(error) => Err(store_error(error, name)),
    }
}

fn text(value: Value) -> RedisResult<String> {
    Ok(redis::from_redis_value(value)?)
}

fn check_info(info: &str, cluster: bool, name: &str) -> Result<(), StoreError> {
    check_version(info, name)?;
    check_topology(info, cluster, name)?;
    if let Some(policy) = field(info, "maxmemory_policy").filter(|policy| *policy != "noeviction") {
        tracing::warn!(
            redis = name,
            policy,
            "Redis may evict idem's records, and an evicted record is a duplicate that runs: set maxmemory-policy to noeviction"
        );
    }
    Ok(())
}

/// Valkey began at 7.2 and calls itself that Redis; only its own version says that it is Valkey.
fn check_version(info: &str, name: &str) -> Result<(), StoreError> {
    if field(info, "valkey_version").is_some() {
        return Ok(());
    }
    let version = field(info, "redis_version").unwrap_or_default();
    let mut numbers = version.split('.').map(|number| number.parse().unwrap_or(0));
    let (major, minor) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if (major, minor) >= OLDEST {
        return Ok(());
    }
    Err(StoreError::config(format!(
        "Redis at {name} has version `{version}`; idem needs Redis {}.{} or later, or Valkey",
        OLDEST.0, OLDEST.1
    )))
}

fn check_topology(info: &str, cluster: bool, name: &str) -> Result<(), StoreError> {
    match (field(info, "cluster_enabled") == Some("1"), cluster) {
        (true, false) => Err(StoreError::config(format!(
            "Redis at {name} is a node of a cluster: use `RedisStore::cluster` instead"
        ))),
        (false, true) => Err(StoreError::config(format!(
            "Redis at {name} is not a node of a cluster: use `RedisStore::connect` instead"
        ))),
        _ => Ok(()),
    }
}

fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_from_6_2_and_every_valkey_pass() {
        for good in
            ["redis_version:6.2.0", "redis_version:7.0.15\r", "redis_version:10.0", "valkey_version:8.1.0"]
        {
            check_version(good, "host:1").unwrap();
        }
        for bad in ["redis_version:6.0.16", "redis_version:5.2.1", "", "redis_version:x"] {
            let error = check_version(bad, "host:1").unwrap_err();
            assert!(error.is_config() && error.to_string().contains("host:1"), "{error}");
        }
    }

    #[test]
    fn a_cluster_is_not_taken_for_a_server_or_the_other_way_round() {
        assert!(check_topology("cluster_enabled:1\r\n", true, "a").is_ok());
        assert!(check_topology("cluster_enabled:0\r\n", false, "a").is_ok());
        assert!(check_topology("cluster_enabled:1\r\n", false, "a").unwrap_err().is_config());
        assert!(check_topology("cluster_enabled:0\r\n", true, "a").unwrap_err().is_config());
    }
}

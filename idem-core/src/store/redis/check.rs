//! The checks before a server becomes a store.

use std::sync::{Arc, Once};

use futures_util::future::join_all;
use redis::aio::{ConnectionLike as _, MultiplexedConnection};
use redis::{ErrorKind, RedisError, RedisResult, ServerErrorKind, Value};
use tokio::time::timeout;

use super::builder::RedisStoreBuilder;
use super::cluster::Cluster;
use super::errors::{store_error, timed_out};
use super::link::RedisLink;
use super::route::{Route, ServerLinks};
use super::target::{CONNECT_TIMEOUT, ServerTarget, Topology};
use crate::store::StoreError;

const OLDEST: (u32, u32) = (6, 2);

/// Connects to servers that pass the checks.
pub(super) async fn connect(builder: &RedisStoreBuilder) -> Result<Route, StoreError> {
    provide_crypto();
    let (ways, name) = match &builder.topology {
        Topology::Server => connect_one(server(builder, &builder.urls[0])?).await?,
        Topology::Sentinel { master } => {
            let (login, tls) = (&builder.login, &builder.tls);
            let target = ServerTarget::master(&builder.urls, master, login, tls, builder.response_timeout);
            connect_one(target.map_err(not_valid)?).await?
        }
        Topology::Cluster => connect_cluster(builder).await?,
    };
    Ok(Route { ways, name, response_timeout: builder.response_timeout })
}

fn server(builder: &RedisStoreBuilder, url: &str) -> Result<ServerTarget, StoreError> {
    ServerTarget::server(url, &builder.login, &builder.tls, builder.response_timeout).map_err(not_valid)
}

fn not_valid(error: RedisError) -> StoreError {
    store_error(error, "the given URL")
}

async fn connect_one(target: ServerTarget) -> Result<(ServerLinks, String), StoreError> {
    let name = target.name();
    let connection = connect_and_check(&target, false).await?;
    Ok((ServerLinks::One(Arc::new(RedisLink::connected(target, connection))), name))
}

/// A cluster is fit when each node that answers is, and one does.
async fn connect_cluster(builder: &RedisStoreBuilder) -> Result<(ServerLinks, String), StoreError> {
    let seeds = builder.urls.iter().map(|url| server(builder, url)).collect::<Result<Vec<_>, _>>()?;
    let names: Vec<_> = seeds.iter().map(ServerTarget::name).collect();
    let name = format!("{} (cluster)", names.join(", "));
    let mut unavailable = Ok(());
    let mut fit = false;
    for checked in join_all(seeds.iter().map(|seed| connect_and_check(seed, true))).await {
        match checked {
            Ok(_) => fit = true,
            Err(error) if error.is_unavailable() => unavailable = Err(error),
            Err(error) => return Err(error),
        }
    }
    if !fit {
        unavailable?;
    }
    let cluster = Cluster::connect(seeds, builder.response_timeout).await;
    Ok((ServerLinks::Cluster(cluster.map_err(|error| store_error(error, &name))?), name))
}

/// rustls asks the process for a provider, and panics where two are linked and none is chosen.
fn provide_crypto() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // An error says that the program has chosen one already.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    });
}

async fn connect_and_check(
    target: &ServerTarget,
    cluster: bool,
) -> Result<MultiplexedConnection, StoreError> {
    let name = target.name();
    let checking = async {
        let mut connection = target.connect().await.map_err(|error| store_error(error, &name))?;
        check(&mut connection, cluster, &name).await?;
        Ok(connection)
    };
    // Also of a server that lets idem in and falls silent then.
    timeout(CONNECT_TIMEOUT, checking).await.unwrap_or_else(|_| Err(store_error(timed_out(), &name)))
}

async fn check(connection: &mut MultiplexedConnection, cluster: bool, name: &str) -> Result<(), StoreError> {
    let info = redis::cmd("INFO");
    let answer = connection.req_packed_command(&info).await.and_then(Value::extract_error);
    match answer.and_then(text) {
        Ok(info) => check_info(&info, cluster, name),
        Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoPerm) => {
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
    check_role(info, cluster, name)?;
    if let Some(policy) = field(info, "maxmemory_policy").filter(|policy| *policy != "noeviction") {
        tracing::warn!(
            redis = name,
            policy,
            "Redis may evict idem's records, and an evicted record is a duplicate that runs: set maxmemory-policy to noeviction"
        );
    }
    if field(info, "aof_enabled") == Some("0") {
        tracing::warn!(
            redis = name,
            appendonly = "no",
            "Redis is not durable: a crash or a restart forgets the records since its last snapshot, and their duplicates run: \
             set appendonly to yes, unless it is a cache in front of a database"
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

/// Of a cluster's nodes, the replicas lead to the masters; of a server alone nobody does.
fn check_role(info: &str, cluster: bool, name: &str) -> Result<(), StoreError> {
    if cluster || field(info, "role") != Some("slave") {
        return Ok(());
    }
    Err(StoreError::config(format!(
        "Redis at {name} is a replica, which is read-only or loses what is written to it: connect to its master, or by \
         `RedisStore::sentinel`"
    )))
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
    fn a_replica_is_no_store_of_its_own() {
        assert!(check_role("role:master\r\n", false, "a").is_ok());
        assert!(check_role("role:slave\r\n", true, "a").is_ok());
        assert!(check_role("role:slave\r\n", false, "a").unwrap_err().is_config());
    }

    #[test]
    fn a_cluster_is_not_taken_for_a_server_or_the_other_way_round() {
        assert!(check_topology("cluster_enabled:1\r\n", true, "a").is_ok());
        assert!(check_topology("cluster_enabled:0\r\n", false, "a").is_ok());
        assert!(check_topology("cluster_enabled:1\r\n", false, "a").unwrap_err().is_config());
        assert!(check_topology("cluster_enabled:0\r\n", true, "a").unwrap_err().is_config());
    }
}

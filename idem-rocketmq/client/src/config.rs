//! The settings of every client of this crate.

use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use rocketmq_client_rust::ClientConfig;

use crate::cluster::Cluster;
use crate::tls::LoadedTls;

/// The least that the client accepts; see `consumer/chores.rs` for topics that do not exist yet.
const POLL_ROUTES_MILLIS: u32 = 10_000;

/// Of a client whose names are complete, so that it knows of no namespace.
pub(crate) fn plain_config(cluster: &Cluster, tls: Option<&LoadedTls>) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set_namesrv_addr(cluster.name_servers.join(";").into());
    config.set_namespace("".into());
    config.set_instance_name(cluster.instance_name.clone().unwrap_or_else(unique_name).into());
    config.set_poll_name_server_interval(POLL_ROUTES_MILLIS);
    if let Some(tls) = tls {
        config.set_use_tls(true);
        config.set_tls_config(tls.client.clone());
    }
    config
}

/// Two members with one name on one host would be one member to the brokers, and each would get half the messages.
fn unique_name() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    format!("{}#{}#{since}", process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

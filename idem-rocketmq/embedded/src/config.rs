//! Small files, loopback addresses, no telemetry.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::time::Duration;

use cheetah_string::CheetahString;
use idem_core::clock::LONGEST;
use rocketmq_broker::config::broker_config::BrokerConfig;
use rocketmq_broker::config::validated::ValidatedBrokerConfig;
use rocketmq_namesrv::NamesrvConfig;
use rocketmq_store::MessageStoreConfig;
use rocketmq_transport::api::ServerConfig;

use super::{AutoCreate, EmbeddedError};

#[derive(Clone, Debug)]
pub(super) struct BrokerOptions {
    pub(super) delay_levels: String,
    pub(super) has_timer: bool,
    pub(super) auto_create: AutoCreate,
    pub(super) check_transactions: Duration,
}

impl Default for BrokerOptions {
    fn default() -> Self {
        let delay_levels = "1s 5s 10s 30s 1m 2m 3m 4m 5m 6m 7m 8m 9m 10m 20m 30m 1h 2h".to_owned();
        Self {
            delay_levels,
            has_timer: true,
            auto_create: AutoCreate::default(),
            check_transactions: Duration::from_secs(30),
        }
    }
}

/// Free a moment ago: the name server's, the broker's, the broker's second (two below) and replication.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ports {
    pub(super) name_server: u16,
    pub(super) broker: u16,
    pub(super) replication: u16,
}

impl Ports {
    /// Holds all four until all are found, so that they differ.
    pub(super) fn find() -> std::io::Result<Self> {
        let bind = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
        let (name_server, replication) = (bind(0)?, bind(0)?);
        let mut held = Vec::new();
        loop {
            let broker = bind(0)?;
            let port = broker.local_addr()?.port();
            let second = bind(port - 2);
            held.push(broker);
            match second {
                Ok(_) => {
                    let (name_server, replication) = (name_server.local_addr()?, replication.local_addr()?);
                    return Ok(Self {
                        name_server: name_server.port(),
                        broker: port,
                        replication: replication.port(),
                    });
                }
                Err(error) if held.len() > 100 => return Err(error),
                Err(_) => {}
            }
        }
    }
}

pub(super) fn name_server(directory: &Path) -> NamesrvConfig {
    let path = |name: &str| directory.join(name).to_string_lossy().into_owned();
    NamesrvConfig {
        rocketmq_home: path(""),
        kv_config_path: path("kvConfig.json"),
        config_store_path: path("namesrv.properties"),
        ..NamesrvConfig::default()
    }
}

pub(super) fn server(port: u16) -> ServerConfig {
    ServerConfig {
        listen_port: port.into(),
        bind_address: Ipv4Addr::LOCALHOST.to_string(),
        ..ServerConfig::default()
    }
}

pub(super) fn broker(
    directory: &Path,
    ports: Ports,
    options: &BrokerOptions,
) -> Result<ValidatedBrokerConfig, EmbeddedError> {
    let root: CheetahString = directory.join("store").to_string_lossy().into_owned().into();
    let interval =
        u64::try_from(options.check_transactions.min(LONGEST).as_millis()).unwrap_or(u64::MAX).max(100);
    let defaults = BrokerConfig::default();
    let mut broker = BrokerConfig {
        transaction_check_interval: interval,
        transaction_timeout: interval.min(defaults.transaction_timeout),
        // Decisions that lie here while a check begins are overlooked.
        transaction_op_batch_interval: (interval / 4).min(defaults.transaction_op_batch_interval),
        broker_ip1: Ipv4Addr::LOCALHOST.to_string().into(),
        listen_port: ports.broker.into(),
        store_path_root_dir: root.clone(),
        namesrv_addr: Some(format!("{}:{}", Ipv4Addr::LOCALHOST, ports.name_server).into()),
        auto_create_topic_enable: options.auto_create == AutoCreate::Allowed,
        broker_server_config: server(ports.broker),
        ..defaults
    };
    broker.broker_identity.broker_name = "embedded".into();
    let validated = ValidatedBrokerConfig::try_from_parts(broker, store(root, ports, options));
    validated.map_err(|error| EmbeddedError::Start(error.to_string()))
}

fn store(root: CheetahString, ports: Ports, options: &BrokerOptions) -> MessageStoreConfig {
    MessageStoreConfig {
        store_path_root_dir: root,
        mapped_file_size_commit_log: 32 << 20,
        mapped_file_size_consume_queue: 20 * 10_000,
        // Must divide by the size of a timer record and by a page.
        mapped_file_size_timer_log: 100 << 16,
        max_hash_slot_num: 10_000,
        max_index_num: 40_000,
        // Apache's broker allows 4 MiB for the body alone; this one counts properties and headers too.
        max_message_size: (4 << 20) + (64 << 10),
        // A full disk of the host is not the reader's business.
        disk_max_used_space_ratio: 97,
        disk_space_clean_forcibly_ratio: 98,
        disk_space_warning_level_ratio: 99,
        ha_listen_address: Ipv4Addr::LOCALHOST.into(),
        ha_listen_port: ports.replication.into(),
        timer_wheel_enable: options.has_timer,
        message_delay_level: options.delay_levels.clone(),
        ..MessageStoreConfig::default()
    }
}

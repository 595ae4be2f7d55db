//! Which server or servers a store speaks to, and how a connection to them is made.

use std::fmt;
use std::time::Duration;

use redis::cluster::{ClusterClient, ClusterClientBuilder};
use redis::sentinel::{SentinelClientBuilder, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _,
    RedisResult, TlsCertificates, TlsMode,
};
use tokio::time::timeout;

use super::builder::RedisStoreBuilder;
use super::errors::timed_out;
use super::link::Connection;

/// Longer than a handshake over a bad line takes, short enough for a start-up to say what is wrong.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Enough for a moved slot and a broken connection. With more, a dead node's keys hold up everybody's.
const CLUSTER_RETRIES: u32 = 3;
/// The shortest and the longest wait before one of them. The client's own begin at 1.3 s.
const CLUSTER_RETRY_MILLIS: (u64, u64) = (10, 200);

/// Makes connections, and knows what to call their other end in an error.
pub(super) struct Target {
    kind: Kind,
    name: String,
    nodes: Vec<ConnectionInfo>,
    certificates: Option<TlsCertificates>,
    response_timeout: Duration,
}

enum Kind {
    Server,
    Cluster,
    Sentinel { master: String, login: Login },
}

/// How to log in to the servers behind Sentinels, whose URLs are the Sentinels' own.
#[derive(Clone, Default)]
pub(super) struct Login {
    pub(super) username: Option<String>,
    pub(super) password: Option<String>,
    pub(super) database: Option<i64>,
}

/// Where the URLs lead.
#[derive(Clone)]
pub(super) enum Topology {
    Server,
    Cluster,
    Sentinel { master: String },
}

impl Target {
    /// Reads the builder's URLs.
    pub(super) fn new(builder: &RedisStoreBuilder) -> RedisResult<Self> {
        let nodes = builder.urls.iter().map(|url| builder.login.node(url, &builder.topology));
        let nodes = nodes.collect::<RedisResult<Vec<_>>>()?;
        let kind = match &builder.topology {
            Topology::Server => Kind::Server,
            Topology::Cluster => Kind::Cluster,
            Topology::Sentinel { master } => {
                Kind::Sentinel { master: master.clone(), login: builder.login.clone() }
            }
        };
        let name = nodes.iter().map(|node| node.addr().to_string()).collect::<Vec<_>>().join(", ");
        let name = match &kind {
            Kind::Server => name,
            Kind::Cluster => format!("{name} (cluster)"),
            Kind::Sentinel { master, .. } => format!("master `{master}` of the sentinels {name}"),
        };
        let certificates = builder.tls.certificates();
        Ok(Self { kind, name, nodes, certificates, response_timeout: builder.response_timeout })
    }

    /// For errors: hosts and ports, never a password.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn is_cluster(&self) -> bool {
        matches!(self.kind, Kind::Cluster)
    }

    /// The nodes that the URLs name.
    pub(super) fn nodes(&self) -> &[ConnectionInfo] {
        &self.nodes
    }

    /// A connection to the server, to the whole cluster, or to the server that the sentinels call master now.
    pub(super) async fn connect(&self) -> RedisResult<Connection> {
        let connecting = async {
            match &self.kind {
                Kind::Server => self.connect_node(&self.nodes[0]).await,
                Kind::Cluster => self.connect_cluster().await,
                Kind::Sentinel { master, login } => self.connect_master(master, login).await,
            }
        };
        timeout(CONNECT_TIMEOUT, connecting).await.unwrap_or_else(|_| Err(timed_out()))
    }

    /// A connection to one node.
    pub(super) async fn connect_node(&self, node: &ConnectionInfo) -> RedisResult<Connection> {
        let client = match &self.certificates {
            Some(certificates) => Client::build_with_tls(node.clone(), certificates.clone())?,
            None => Client::open(node.clone())?,
        };
        let connection = client.get_multiplexed_async_connection_with_config(&self.config()).await?;
        Ok(Connection::Server(connection))
    }

    async fn connect_cluster(&self) -> RedisResult<Connection> {
        let builder: ClusterClientBuilder = ClusterClient::builder(self.nodes.clone())
            .connection_timeout(CONNECT_TIMEOUT / 3)
            .response_timeout(self.response_timeout)
            .retries(CLUSTER_RETRIES)
            .min_retry_wait(CLUSTER_RETRY_MILLIS.0)
            .max_retry_wait(CLUSTER_RETRY_MILLIS.1);
        let builder = match &self.certificates {
            Some(certificates) => builder.certs(certificates.clone()),
            None => builder,
        };
        Ok(Connection::Cluster(builder.build()?.get_async_connection().await?))
    }

    /// Asks the sentinels anew each time: whom they called master before may be none any more.
    async fn connect_master(&self, master: &str, login: &Login) -> RedisResult<Connection> {
        let addresses = self.nodes.iter().map(|node| node.addr().clone());
        let mut builder = SentinelClientBuilder::new(addresses, master, SentinelServerType::Master)?;
        if let Some(database) = login.database {
            builder = builder.set_client_to_redis_db(database);
        }
        if let Some(username) = &login.username {
            builder = builder.set_client_to_redis_username(username);
        }
        if let Some(password) = &login.password {
            builder = builder.set_client_to_redis_password(password);
        }
        let sentinel = &self.nodes[0];
        if let Some(username) = sentinel.redis_settings().username() {
            builder = builder.set_client_to_sentinel_username(username);
        }
        if let Some(password) = sentinel.redis_settings().password() {
            builder = builder.set_client_to_sentinel_password(password);
        }
        if matches!(sentinel.addr(), ConnectionAddr::TcpTls { .. }) {
            let mode = TlsMode::Secure;
            builder = builder.set_client_to_redis_tls_mode(mode).set_client_to_sentinel_tls_mode(mode);
            if let Some(certificates) = &self.certificates {
                builder = builder
                    .set_client_to_redis_certificates(certificates.clone())
                    .set_client_to_sentinel_certificates(certificates.clone());
            }
        }
        let connection = builder.build()?.get_async_connection_with_config(&self.config()).await?;
        Ok(Connection::Server(connection))
    }

    fn config(&self) -> AsyncConnectionConfig {
        AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(self.response_timeout))
    }
}

impl Login {
    /// A URL's node; where it is a server's own URL, with this login instead of the URL's where it is set.
    fn node(&self, url: &str, topology: &Topology) -> RedisResult<ConnectionInfo> {
        let node = url.into_connection_info()?;
        if let Topology::Sentinel { .. } = topology {
            return Ok(node);
        }
        let mut settings = node.redis_settings().clone();
        if let Some(username) = &self.username {
            settings = settings.set_username(username);
        }
        if let Some(password) = &self.password {
            settings = settings.set_password(password);
        }
        if let Some(database) = self.database {
            settings = settings.set_db(database);
        }
        Ok(node.set_redis_settings(settings))
    }
}

/// Certificates in PEM form.
#[derive(Clone, Default)]
pub(super) struct Tls {
    pub(super) roots: Option<Vec<u8>>,
    pub(super) client: Option<(Vec<u8>, Vec<u8>)>,
}

impl Tls {
    fn certificates(&self) -> Option<TlsCertificates> {
        let client_tls =
            self.client.clone().map(|(client_cert, client_key)| ClientTlsConfig { client_cert, client_key });
        (self.roots.is_some() || client_tls.is_some())
            .then(|| TlsCertificates { client_tls, root_cert: self.roots.clone() })
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

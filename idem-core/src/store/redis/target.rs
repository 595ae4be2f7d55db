//! Which server a connection leads to, and how it is made.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::sentinel::{SentinelClientBuilder, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _,
    RedisResult, TlsCertificates, TlsMode,
};
use tokio::time::timeout;

use super::errors::timed_out;

/// Longer than a handshake over a bad line takes, short enough for a start-up to say what is wrong.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Where the URLs lead.
#[derive(Clone)]
pub(super) enum Topology {
    Server,
    Cluster,
    Sentinel { master: String },
}

/// Makes connections to one server, and knows what to call it in an error.
#[derive(Clone)]
pub(super) struct ServerTarget {
    place: ServerLocation,
    certificates: Option<TlsCertificates>,
    response_timeout: Duration,
}

#[derive(Clone)]
enum ServerLocation {
    /// The server at this address.
    Server(ConnectionInfo),
    /// The server that these sentinels call master.
    Master { sentinels: Vec<ConnectionInfo>, name: String, login: Login },
}

/// How to log in to a server. `None` where the URL says it, or nothing is to be said.
#[derive(Clone, Default)]
pub(super) struct Login {
    pub(super) username: Option<String>,
    pub(super) password: Option<String>,
    pub(super) database: Option<i64>,
}

/// Certificates in PEM form.
#[derive(Clone, Default)]
pub(super) struct Tls {
    pub(super) roots: Option<Vec<u8>>,
    pub(super) client: Option<(Vec<u8>, Vec<u8>)>,
}

impl ServerTarget {
    /// The server of a URL, with this login instead of the URL's where it is set.
    pub(super) fn server(
        url: &str,
        login: &Login,
        tls: &Tls,
        response_timeout: Duration,
    ) -> RedisResult<Self> {
        let place = ServerLocation::Server(login.apply(url.into_connection_info()?));
        Ok(Self { place, certificates: tls.certificates(), response_timeout })
    }

    /// The master of this name, with this login. The URLs' logins are the sentinels' own.
    pub(super) fn master(
        urls: &[String],
        name: &str,
        login: &Login,
        tls: &Tls,
        response_timeout: Duration,
    ) -> RedisResult<Self> {
        let sentinels =
            urls.iter().map(|url| url.as_str().into_connection_info()).collect::<Result<_, _>>()?;
        let place = ServerLocation::Master { sentinels, name: name.to_owned(), login: login.clone() };
        Ok(Self { place, certificates: tls.certificates(), response_timeout })
    }

    /// Another server of the same cluster: logged in to and encrypted as this one.
    pub(super) fn sibling(&self, host: &str, port: u16) -> Self {
        let mut sibling = self.clone();
        if let ServerLocation::Server(info) = &self.place {
            sibling.place = ServerLocation::Server(info.clone().set_addr(at(info.addr(), host, port)));
        }
        sibling
    }

    /// Where this server is; `None` where it has no address of its own.
    pub(super) fn address(&self) -> Option<(&str, u16)> {
        match &self.place {
            ServerLocation::Server(info) => match info.addr() {
                ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
                    Some((host, *port))
                }
                _ => None,
            },
            ServerLocation::Master { .. } => None,
        }
    }

    /// For errors: hosts and ports, never a password.
    pub(super) fn name(&self) -> String {
        match &self.place {
            ServerLocation::Server(info) => info.addr().to_string(),
            ServerLocation::Master { sentinels, name, .. } => {
                let sentinels: Vec<_> = sentinels.iter().map(|info| info.addr().to_string()).collect();
                format!("master `{name}` of the sentinels {}", sentinels.join(", "))
            }
        }
    }

    /// A connection to the server, or to the one that the sentinels call master now.
    pub(super) async fn connect(&self) -> RedisResult<MultiplexedConnection> {
        let connecting = async {
            match &self.place {
                ServerLocation::Server(info) => self.connect_to(info).await,
                ServerLocation::Master { sentinels, name, login } => {
                    self.connect_master(sentinels, name, login).await
                }
            }
        };
        timeout(CONNECT_TIMEOUT, connecting).await.unwrap_or_else(|_| Err(timed_out()))
    }

    async fn connect_to(&self, info: &ConnectionInfo) -> RedisResult<MultiplexedConnection> {
        let client = match &self.certificates {
            Some(certificates) => Client::build_with_tls(info.clone(), certificates.clone())?,
            None => Client::open(info.clone())?,
        };
        client.get_multiplexed_async_connection_with_config(&self.config()).await
    }

    /// Asks the sentinels anew each time: whom they called master before may be none any more.
    async fn connect_master(
        &self,
        sentinels: &[ConnectionInfo],
        name: &str,
        login: &Login,
    ) -> RedisResult<MultiplexedConnection> {
        let addresses = sentinels.iter().map(|sentinel| sentinel.addr().clone());
        let builder = SentinelClientBuilder::new(addresses, name, SentinelServerType::Master)?;
        let mut builder = login.apply_behind_sentinel(builder);
        let sentinel = &sentinels[0];
        if let Some(username) = sentinel.redis_settings().username() {
            builder = builder.set_client_to_sentinel_username(username);
        }
        if let Some(password) = sentinel.redis_settings().password() {
            builder = builder.set_client_to_sentinel_password(password);
        }
        if matches!(sentinel.addr(), ConnectionAddr::TcpTls { .. }) {
            builder = self.encrypt(builder);
        }
        builder.build()?.get_async_connection_with_config(&self.config()).await
    }

    fn encrypt(&self, builder: SentinelClientBuilder) -> SentinelClientBuilder {
        let mode = TlsMode::Secure;
        let builder = builder.set_client_to_redis_tls_mode(mode).set_client_to_sentinel_tls_mode(mode);
        match &self.certificates {
            Some(certificates) => builder
                .set_client_to_redis_certificates(certificates.clone())
                .set_client_to_sentinel_certificates(certificates.clone()),
            None => builder,
        }
    }

    fn config(&self) -> AsyncConnectionConfig {
        AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(self.response_timeout))
    }
}

impl Login {
    fn apply(&self, info: ConnectionInfo) -> ConnectionInfo {
        let mut settings = info.redis_settings().clone();
        if let Some(username) = &self.username {
            settings = settings.set_username(username);
        }
        if let Some(password) = &self.password {
            settings = settings.set_password(password);
        }
        if let Some(database) = self.database {
            settings = settings.set_db(database);
        }
        info.set_redis_settings(settings)
    }

    fn apply_behind_sentinel(&self, mut builder: SentinelClientBuilder) -> SentinelClientBuilder {
        if let Some(username) = &self.username {
            builder = builder.set_client_to_redis_username(username);
        }
        if let Some(password) = &self.password {
            builder = builder.set_client_to_redis_password(password);
        }
        if let Some(database) = self.database {
            builder = builder.set_client_to_redis_db(database);
        }
        builder
    }
}

impl Tls {
    fn certificates(&self) -> Option<TlsCertificates> {
        let client = self.client.clone();
        let client_tls = client.map(|(client_cert, client_key)| ClientTlsConfig { client_cert, client_key });
        (self.roots.is_some() || client_tls.is_some())
            .then(|| TlsCertificates { client_tls, root_cert: self.roots.clone() })
    }
}

/// The same kind of address, elsewhere.
fn at(address: &ConnectionAddr, host: &str, port: u16) -> ConnectionAddr {
    let host = host.to_owned();
    match address {
        ConnectionAddr::TcpTls { insecure, tls_params, .. } => {
            ConnectionAddr::TcpTls { host, port, insecure: *insecure, tls_params: tls_params.clone() }
        }
        _ => ConnectionAddr::Tcp(host, port),
    }
}

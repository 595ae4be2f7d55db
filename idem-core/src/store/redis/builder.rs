//! Settings of the Redis store.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::check;
use super::probe;
use super::target::{Login, Tls, Topology};
use super::{RedisStore, RedisStoreInner};
use crate::clock::{OF_A_SERVER, within};
use crate::runtime;
use crate::store::StoreError;

const DEFAULT_PREFIX: &[u8] = b"idem:";
const DEFAULT_RESPONSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Settings of a [`RedisStore`]. `Debug` shows no URL and no secret.
#[derive(Clone)]
#[must_use = "nothing happens before `connect`"]
pub struct RedisStoreBuilder {
    pub(super) topology: Topology,
    pub(super) urls: Vec<String>,
    pub(super) login: Login,
    pub(super) tls: Tls,
    pub(super) response_timeout: Duration,
    prefix: Vec<u8>,
}

impl RedisStoreBuilder {
    pub(super) fn new<U: Into<String>>(topology: Topology, urls: impl IntoIterator<Item = U>) -> Self {
        Self {
            topology,
            urls: urls.into_iter().map(Into::into).collect(),
            login: Login::default(),
            tls: Tls::default(),
            response_timeout: DEFAULT_RESPONSE_TIMEOUT,
            prefix: DEFAULT_PREFIX.to_vec(),
        }
    }

    /// The prefix of every key in Redis: `idem:` unless said otherwise.
    ///
    /// On a cluster, a prefix with a hash tag (`{idem}:`) puts all keys into one slot and so on one server.
    pub fn key_prefix(mut self, prefix: impl Into<Vec<u8>>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// How long a call may take, a reconnection included: 2 s unless said otherwise. Then it fails as
    /// unavailable, and what it did is unknown until it is repeated. Less than a millisecond and more than a day are
    /// errors at [`connect`](Self::connect).
    pub fn response_timeout(mut self, timeout: Duration) -> Self {
        self.response_timeout = timeout;
        self
    }

    /// The user of the Redis servers, instead of the URL's. Behind Sentinels it is said here only: their URLs
    /// are for the Sentinels themselves.
    pub fn username(mut self, username: impl Into<String>) -> Self {
        self.login.username = Some(username.into());
        self
    }

    /// The password of the Redis servers, instead of the URL's. Behind Sentinels it is said here only.
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.login.password = Some(password.into());
        self
    }

    /// The number of the database, instead of the URL's. Behind Sentinels it is said here only.
    pub fn database(mut self, number: u32) -> Self {
        self.login.database = Some(number.into());
        self
    }

    /// The certificates, in PEM form, that a `rediss://` server's must descend from, instead of the operating
    /// system's: for a private certificate authority.
    pub fn root_certificates(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.tls.roots = Some(pem.into());
        self
    }

    /// The certificate chain and the key, in PEM form, that idem shows to a `rediss://` server.
    pub fn client_certificate(mut self, chain: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        self.tls.client = Some((chain.into(), key.into()));
        self
    }

    /// Connects, and checks that the server is fit to be a store: a key of its own is claimed, renewed, completed, released and
    /// removed there, on each master of a cluster.
    ///
    /// # Errors
    /// [`StoreError::is_unavailable`] within 3 s where no server answers, and where it cannot write just now;
    /// [`StoreError::is_config`] where a URL is not valid, the password is wrong, the database does not exist,
    /// the server is older than Redis 6.2, is a read-only replica, or is a cluster's where it should not be or the other way round,
    /// or where its user may not run idem's commands on keys with the prefix; [`StoreError::is_full`] where it has no memory.
    /// The text says what is missing. Nodes of a cluster that do not answer are no error while another one does.
    ///
    /// # Cancel safety
    /// Dropping the future gives the connection up.
    pub async fn connect(self) -> Result<RedisStore, StoreError> {
        if self.urls.is_empty() {
            return Err(StoreError::config("a Redis store needs at least one URL"));
        }
        within("response_timeout", self.response_timeout, OF_A_SERVER)
            .map_err(|error| StoreError::config(error.to_string()))?;
        let prefix = self.prefix.clone();
        let connected = runtime::handle().spawn(async move { check::connect(&self).await });
        let cut_off = |error| StoreError::unavailable("connecting to Redis was cut off").with_source(error);
        let route = connected.await.map_err(cut_off)??;
        let store = RedisStore(Arc::new(RedisStoreInner { route, prefix }));
        probe::probe(&store).await?;
        Ok(store)
    }
}

impl fmt::Debug for RedisStoreBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStoreBuilder")
            .field("prefix", &String::from_utf8_lossy(&self.prefix))
            .field("response_timeout", &self.response_timeout)
            .finish_non_exhaustive()
    }
}

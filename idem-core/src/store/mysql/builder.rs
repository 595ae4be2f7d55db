//! Settings of the store for MySQL and MariaDB.

use std::fmt;

use sqlx::ConnectOptions as _;
use sqlx::mysql::{MySqlConnectOptions, MySqlPool};

use super::MySqlStore;
use super::check::Flavour;
use super::dialect::MySql;
use crate::store::sql::{ConnectionSource, SqlSettings, builder_methods};
use crate::store::{StoreError, probe};

/// Settings of a [`MySqlStore`]. `Debug` shows no URL and no secret.
#[derive(Clone)]
#[must_use = "nothing happens before `connect`"]
pub struct MySqlStoreBuilder {
    target: MySqlTarget,
    roots: Option<Vec<u8>>,
    client: Option<(Vec<u8>, Vec<u8>)>,
    flavour: Option<Flavour>,
    settings: SqlSettings,
}

#[derive(Clone)]
enum MySqlTarget {
    Url(String),
    Pool(MySqlPool),
}

impl MySqlStoreBuilder {
    pub(super) fn with_url(url: String) -> Self {
        Self {
            target: MySqlTarget::Url(url),
            roots: None,
            client: None,
            flavour: None,
            settings: SqlSettings::new('`'),
        }
    }

    pub(super) fn with_pool(pool: MySqlPool) -> Self {
        let mut settings = SqlSettings::new('`');
        settings.share(pool.options().get_max_connections());
        Self { target: MySqlTarget::Pool(pool), roots: None, client: None, flavour: None, settings }
    }

    /// The database of the tables, which must exist: the URL's unless said otherwise. It is named as a table is.
    pub fn schema(mut self, name: impl Into<String>) -> Self {
        self.settings.names.set_schema(name.into());
        self
    }

    /// How many connections the store opens at most: 8 unless said otherwise, or as many as the given pool has.
    pub fn connections(mut self, most: u32) -> Self {
        self.settings.connections = most;
        self
    }

    /// The certificates, in PEM form, that the server's must descend from with `?ssl-mode=VERIFY_IDENTITY` or `VERIFY_CA`,
    /// instead of the public authorities': for a private certificate authority.
    pub fn root_certificates(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.roots = Some(pem.into());
        self
    }

    /// The certificate chain and the key, in PEM form, that idem shows to the server.
    pub fn client_certificate(mut self, chain: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        self.client = Some((chain.into(), key.into()));
        self
    }

    /// Speaks to a MariaDB server as to MySQL, which returns no rows of an upsert: so MySQL's statements are tested where
    /// there is no MySQL.
    #[doc(hidden)]
    pub fn like_mysql(mut self) -> Self {
        self.flavour = Some(Flavour::MySql);
        self
    }

    /// How many transactions of handlers are open at one time, each on a connection beside those of
    /// [`connections`](Self::connections): 16 unless said otherwise, or all but two of a given pool's.
    pub fn transactions(mut self, most: u32) -> Self {
        self.settings.transactions = most;
        self
    }

    builder_methods!();

    /// The migrations as SQL, with the names that are set here, for those who do not let a program create tables.
    ///
    /// # Errors
    /// [`StoreError::is_config`] where a name is refused.
    pub fn migrations(&self) -> Result<String, StoreError> {
        self.settings.names.check()?;
        Ok(self.dialect().script())
    }

    /// Creates the tables, or brings them up to date. Members that do so at the same time wait for each other, up to ten
    /// minutes.
    ///
    /// The user needs the right to create tables; at [`connect`](Self::connect) it needs only `SELECT`, `INSERT`, `UPDATE`
    /// and `DELETE` on them.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub async fn migrate(&self) -> Result<(), StoreError> {
        let (settings, dialect, source, name) = self.clone().parts()?;
        settings.migrate(dialect, source, name).await
    }

    /// Connects, and checks that server and tables are fit to be a store: a key of its own is claimed, renewed, completed, released
    /// and removed there.
    ///
    /// # Errors
    /// [`StoreError::is_unavailable`] within 3 s where no server answers;
    /// [`StoreError::is_config`] where the URL or a name is not valid, user or password are wrong, the database does not
    /// exist, the server is older than MySQL 8 or MariaDB 10.6 or read-only, the user may not work with the tables, or the tables are missing, older or newer than this
    /// version needs them.
    ///
    /// # Cancel safety
    /// Dropping the future gives the connections up.
    pub async fn connect(self) -> Result<MySqlStore, StoreError> {
        let (settings, dialect, source, name) = self.parts()?;
        let store = MySqlStore(settings.open(dialect, source, name).await?);
        probe::probe(&store).await?;
        Ok(store)
    }

    pub(in crate::store) fn dialect(&self) -> MySql {
        MySql::new(&self.settings.names, self.settings.response_timeout, self.flavour)
    }

    pub(in crate::store) fn parts(
        self,
    ) -> Result<(SqlSettings, MySql, ConnectionSource<MySql>, String), StoreError> {
        self.settings.names.check()?;
        let dialect = self.dialect();
        let (source, options) = match &self.target {
            MySqlTarget::Url(url) => {
                let options = self.options(url)?;
                (ConnectionSource::own(options.clone()), options)
            }
            MySqlTarget::Pool(pool) => {
                (ConnectionSource::Pool(pool.clone()), (*pool.connect_options()).clone())
            }
        };
        let name = format!(
            "{}:{}/{}",
            options.get_host(),
            options.get_port(),
            options.get_database().unwrap_or_default()
        );
        Ok((self.settings, dialect, source, name))
    }

    fn options(&self, url: &str) -> Result<MySqlConnectOptions, StoreError> {
        // The cause is left out: it may quote the URL, and so a password.
        let options: Option<MySqlConnectOptions> = (url.starts_with("mysql://")
            || url.starts_with("mariadb://"))
        .then(|| url.parse().ok())
        .flatten();
        let mut options = options.ok_or_else(|| {
            StoreError::config("the URL for MySQL is not valid: `mysql://user:password@host:port/database`")
        })?;
        if let Some(roots) = &self.roots {
            options = options.ssl_ca_from_pem(roots.clone());
        }
        if let Some((chain, key)) = &self.client {
            options = options.ssl_client_cert_from_pem(chain).ssl_client_key_from_pem(key);
        }
        Ok(options.disable_statement_logging())
    }
}

impl fmt::Debug for MySqlStoreBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MySqlStoreBuilder").field("settings", &self.settings).finish_non_exhaustive()
    }
}

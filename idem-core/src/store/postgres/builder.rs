//! Settings of the PostgreSQL store.

use std::fmt;
use std::sync::Arc;

use sqlx::ConnectOptions as _;
use sqlx::postgres::{PgConnectOptions, PgPool};

use super::PostgresStore;
use super::dialect::Postgres;
use super::driver::PostgresDriver;
use super::foreign::{self, AnyDriver};
use crate::store::sql::{ConnectionSource, SqlSettings, builder_methods};
use crate::store::{StoreError, probe};

/// Settings of a [`PostgresStore`]. `Debug` shows no URL and no secret.
#[derive(Clone)]
#[must_use = "nothing happens before `connect`"]
pub struct PostgresStoreBuilder {
    target: PostgresTarget,
    roots: Option<Vec<u8>>,
    client: Option<(Vec<u8>, Vec<u8>)>,
    settings: SqlSettings,
    driver: Option<Arc<dyn AnyDriver>>,
}

#[derive(Clone)]
enum PostgresTarget {
    Url(String),
    Pool(PgPool),
}

impl PostgresStoreBuilder {
    pub(super) fn with_url(url: String) -> Self {
        Self {
            target: PostgresTarget::Url(url),
            roots: None,
            client: None,
            settings: SqlSettings::new('"'),
            driver: None,
        }
    }

    pub(super) fn with_pool(pool: PgPool) -> Self {
        let mut settings = SqlSettings::new('"');
        settings.share(pool.options().get_max_connections());
        Self { target: PostgresTarget::Pool(pool), roots: None, client: None, settings, driver: None }
    }

    /// The schema of the tables, which must exist: the first of the connection's `search_path` unless said otherwise. It is
    /// named as a table is.
    pub fn schema(mut self, name: impl Into<String>) -> Self {
        self.settings.names.set_schema(name.into());
        self
    }

    /// How many connections the store opens at most: 8 unless said otherwise, or as many as the given pool has.
    pub fn connections(mut self, most: u32) -> Self {
        self.settings.connections = most;
        self
    }

    /// The certificates, in PEM form, that the server's must descend from with `?sslmode=verify-full` or `verify-ca`,
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

    /// How many transactions of handlers are open at one time, each on a connection beside those of
    /// [`connections`](Self::connections): 16 unless said otherwise, or all but two of a given pool's.
    pub fn transactions(mut self, most: u32) -> Self {
        self.settings.transactions = most;
        self
    }

    /// Gives handlers the connections of another library, an ORM's mostly, instead of sqlx's. They must lead to the same
    /// tables as the store's own, which [`connect`](Self::connect) tries. [`transactions`](Self::transactions) says nothing then:
    /// the driver does.
    pub fn driver(mut self, driver: impl PostgresDriver) -> Self {
        self.driver = Some(Arc::new(driver));
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
    /// exist, the server is older than PostgreSQL 12 or read-only, the user may not work with the tables, the tables are missing, older or newer than this
    /// version needs them, or a [`driver`](Self::driver) leads elsewhere.
    ///
    /// # Cancel safety
    /// Dropping the future gives the connections up.
    pub async fn connect(self) -> Result<PostgresStore, StoreError> {
        let driver = self.driver.clone();
        let (mut settings, dialect, source, name) = self.parts()?;
        let (names, timeout) = (&settings.names, settings.response_timeout);
        let foreign = driver.map(|driver| driver.transactions(names, name.clone(), timeout));
        settings.foreign = foreign.clone().map(|foreign| foreign as _);
        let core = settings.open(dialect, source, name).await?;
        if let Some(foreign) = foreign {
            foreign::probe(&*foreign, &core).await?;
        }
        let store = PostgresStore(core);
        probe::probe(&store).await?;
        Ok(store)
    }

    pub(in crate::store) fn dialect(&self) -> Postgres {
        Postgres::new(&self.settings.names, self.settings.response_timeout)
    }

    pub(in crate::store) fn parts(
        self,
    ) -> Result<(SqlSettings, Postgres, ConnectionSource<Postgres>, String), StoreError> {
        self.settings.names.check()?;
        let dialect = self.dialect();
        let (source, options) = match &self.target {
            PostgresTarget::Url(url) => {
                let options = self.options(url)?;
                (ConnectionSource::own(options.clone()), options)
            }
            PostgresTarget::Pool(pool) => {
                (ConnectionSource::Pool(pool.clone()), (*pool.connect_options()).clone())
            }
        };
        let name = format!(
            "{}:{}/{}",
            options.get_host(),
            options.get_port(),
            options.get_database().unwrap_or(options.get_username())
        );
        Ok((self.settings, dialect, source, name))
    }

    fn options(&self, url: &str) -> Result<PgConnectOptions, StoreError> {
        // The cause is left out: it may quote the URL, and so a password.
        let options: Option<PgConnectOptions> = (url.starts_with("postgres://")
            || url.starts_with("postgresql://"))
        .then(|| url.parse().ok())
        .flatten();
        let mut options = options.ok_or_else(|| {
            StoreError::config(
                "the URL for PostgreSQL is not valid: `postgres://user:password@host:port/database`",
            )
        })?;
        if let Some(roots) = &self.roots {
            options = options.ssl_root_cert_from_pem(roots.clone());
        }
        if let Some((chain, key)) = &self.client {
            options = options.ssl_client_cert_from_pem(chain).ssl_client_key_from_pem(key);
        }
        Ok(options.disable_statement_logging())
    }
}

impl fmt::Debug for PostgresStoreBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStoreBuilder").field("settings", &self.settings).finish_non_exhaustive()
    }
}

//! The settings that the SQL stores share.

use std::sync::Arc;
use std::time::Duration;

use super::dialect::{Connection, Reply, StoreDialect};
use super::link::{ConnectionSource, ConnectionWork, SqlLink};
use super::names::Names;
use super::purge::{self, Purge};
use super::transactions::HandlerConnections;
use super::{SqlStoreCore, durability, schema};
use crate::clock::{OF_A_SERVER, within};
use crate::store::remote::on_runtime;
use crate::store::{StoreError, Transactions};

/// As many as the engine's lanes have under way under load, mostly.
const DEFAULT_CONNECTIONS: u32 = 8;
/// As many as a database of some cores runs side by side, without all of its connections being one consumer's.
const DEFAULT_TRANSACTIONS: u32 = 16;
const DEFAULT_RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);
/// Short enough for a start-up to say what is wrong.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

#[derive(Debug, Clone)]
pub(in crate::store) struct SqlSettings {
    pub(in crate::store) names: Names,
    pub(in crate::store) connections: u32,
    /// How many transactions of handlers are open at one time.
    pub(in crate::store) transactions: u32,
    pub(in crate::store) response_timeout: Duration,
    pub(in crate::store) purge: Purge,
    /// Whether `open` creates tables that are missing.
    pub(in crate::store) creates_tables: bool,
    /// Transactions over connections of another library.
    pub(in crate::store) foreign: Option<Arc<dyn Transactions>>,
}

impl SqlSettings {
    pub(in crate::store) fn new(quote: char) -> Self {
        Self {
            names: Names::new(quote),
            connections: DEFAULT_CONNECTIONS,
            transactions: DEFAULT_TRANSACTIONS,
            response_timeout: DEFAULT_RESPONSE_TIMEOUT,
            purge: Purge::default(),
            creates_tables: false,
            foreign: None,
        }
    }

    /// Takes connections of a pool of so many: two are kept for the store's calls while handlers have the others.
    pub(in crate::store) fn share(&mut self, pool: u32) {
        self.connections = pool;
        self.transactions = pool.saturating_sub(2).max(1);
    }

    fn check(&self) -> Result<(), StoreError> {
        let times = within("response_timeout", self.response_timeout, OF_A_SERVER);
        times.and_then(|()| self.purge.check()).map_err(|error| StoreError::config(error.to_string()))
    }

    /// Connects, and checks server and schema.
    pub(in crate::store) async fn open<D: StoreDialect>(
        self,
        dialect: D,
        source: ConnectionSource<D>,
        name: String,
    ) -> Result<Arc<SqlStoreCore<D>>, StoreError> {
        on_runtime(async move {
            self.check()?;
            let link = SqlLink::new(dialect, name, source, self.connections, self.response_timeout);
            link.call_within(CONNECT_TIMEOUT, &ServerCheck(link.name.clone())).await??;
            schema::check(&link, &self.names, self.creates_tables).await?;
            if self.purge.is_on() && !D::IS_FILE {
                purge::probe(&link).await?;
            }
            durability::warn(&link).await;
            let handlers = HandlerConnections::new(self.transactions);
            let core = Arc::new(SqlStoreCore { link, names: self.names, handlers, foreign: self.foreign });
            purge::start(&core, self.purge);
            Ok(core)
        })
        .await?
    }

    /// Connects, checks the server, and brings the schema up to date.
    pub(in crate::store) async fn migrate<D: StoreDialect>(
        self,
        dialect: D,
        source: ConnectionSource<D>,
        name: String,
    ) -> Result<(), StoreError> {
        on_runtime(async move {
            self.check()?;
            let link = SqlLink::new(dialect, name, source, 1, self.response_timeout);
            link.call_within(CONNECT_TIMEOUT, &ServerCheck(link.name.clone())).await??;
            schema::migrate(&link).await
        })
        .await?
    }
}

struct ServerCheck(String);

impl<D: StoreDialect> ConnectionWork<D> for ServerCheck {
    type Output = Result<(), StoreError>;

    fn run(&self, dialect: &D, on: &mut Connection<D>) -> impl Reply<Self::Output> {
        dialect.check(on, &self.0)
    }
}

/// The methods of a builder that has `settings`.
macro_rules! builder_methods {
    () => {
        pub(in crate::store) fn settings(&mut self) -> &mut $crate::store::sql::SqlSettings {
            &mut self.settings
        }

        pub(in crate::store) fn settings_ref(&self) -> &$crate::store::sql::SqlSettings {
            &self.settings
        }

        /// The name of the table of records: `idem_records` unless said otherwise. A second, small table has the
        /// same name with `_meta` behind it.
        ///
        /// A name has ASCII letters, digits, `_` and `-`, 48 of them at most; others are an error at `connect`.
        pub fn table(mut self, name: impl Into<String>) -> Self {
            self.settings.names.set_table(name.into());
            self
        }

        /// How long a call may take, a reconnection included: 5 s unless said otherwise. Then it fails as
        /// unavailable, and what it did is unknown until it is repeated. Less than a millisecond and more than a day are
        /// errors at `connect`.
        ///
        /// In a handler's transaction it bounds each statement of idem's, the commit among them; a claim there, which may wait as
        /// long for another transaction, takes twice that at most.
        pub fn response_timeout(mut self, timeout: ::std::time::Duration) -> Self {
            self.settings.response_timeout = timeout;
            self
        }

        /// How expired records are deleted; [`Purge::off`](crate::store::Purge::off) for not at all.
        pub fn purge(mut self, purge: $crate::store::Purge) -> Self {
            self.settings.purge = purge;
            self
        }
    };
}

pub(in crate::store) use builder_methods;

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers that the builders and the guide to transactions say.
    #[test]
    fn a_store_takes_as_many_connections_as_is_documented() {
        let mut settings = SqlSettings::new('"');
        assert_eq!((settings.connections, settings.transactions), (8, 16));
        assert_eq!(settings.response_timeout, Duration::from_secs(5));
        for (pool, transactions) in [(10, 8), (3, 1), (2, 1), (1, 1)] {
            settings.share(pool);
            assert_eq!((settings.connections, settings.transactions), (pool, transactions));
        }
    }
}

//! Settings of the SQLite store.

use std::fmt;
use std::path::{Path, PathBuf};

use sqlx::ConnectOptions as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqliteSynchronous};

use super::SqliteStore;
use super::dialect::Sqlite;
use crate::store::StoreError;
use crate::store::sql::{ConnectionSource, SqlSettings, builder_methods};

/// Settings of a [`SqliteStore`].
#[derive(Clone)]
#[must_use = "nothing happens before `open`"]
pub struct SqliteStoreBuilder {
    target: SqliteTarget,
    settings: SqlSettings,
}

#[derive(Clone)]
enum SqliteTarget {
    File(PathBuf),
    Pool(SqlitePool),
}

impl SqliteStoreBuilder {
    pub(super) fn with_path(path: &Path) -> Self {
        let mut settings = SqlSettings::new('"');
        // One writer is all that SQLite has at a time, and what it does is mostly to write.
        settings.connections = 1;
        settings.transactions = 1;
        // There is no administrator of a file, and a new one has nothing to lose.
        settings.creates_tables = true;
        Self { target: SqliteTarget::File(path.to_owned()), settings }
    }

    pub(super) fn with_pool(pool: SqlitePool) -> Self {
        let mut settings = SqlSettings::new('"');
        settings.connections = pool.options().get_max_connections();
        settings.transactions = 1;
        settings.creates_tables = true;
        Self { target: SqliteTarget::Pool(pool), settings }
    }

    builder_methods!();

    /// The migrations as SQL, with the names that are set here.
    ///
    /// # Errors
    /// [`StoreError::is_config`] where a name is refused.
    pub fn migrations(&self) -> Result<String, StoreError> {
        self.settings.names.check()?;
        Ok(self.dialect().script())
    }

    /// Creates the file and its tables, or brings them up to date. [`open`](Self::open) creates what is missing by itself,
    /// but changes no tables that are there.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn migrate(&self) -> Result<(), StoreError> {
        let (settings, dialect, source, name) = self.clone().parts()?;
        settings.migrate(dialect, source, name).await
    }

    /// Opens the file, which is created where it is missing, and checks that its tables are fit to be a store.
    ///
    /// # Errors
    /// [`StoreError::is_config`] where the file cannot be created or written or is no SQLite database, a name is not
    /// valid, or the tables are older or newer than this version needs them; [`StoreError::is_unavailable`] where another
    /// process keeps the file locked.
    ///
    /// # Cancel safety
    /// Dropping the future closes the file.
    pub async fn open(self) -> Result<SqliteStore, StoreError> {
        let (settings, dialect, source, name) = self.parts()?;
        Ok(SqliteStore(settings.open(dialect, source, name).await?))
    }

    pub(in crate::store) fn dialect(&self) -> Sqlite {
        Sqlite::new(&self.settings.names)
    }

    pub(in crate::store) fn parts(
        self,
    ) -> Result<(SqlSettings, Sqlite, ConnectionSource<Sqlite>, String), StoreError> {
        self.settings.names.check()?;
        let dialect = self.dialect();
        let (source, path) = match &self.target {
            SqliteTarget::File(path) => (ConnectionSource::own(self.options(path)?), path.clone()),
            SqliteTarget::Pool(pool) => {
                (ConnectionSource::Pool(pool.clone()), pool.connect_options().get_filename().to_owned())
            }
        };
        Ok((self.settings, dialect, source, path.display().to_string()))
    }

    fn options(&self, path: &Path) -> Result<SqliteConnectOptions, StoreError> {
        if path.as_os_str().is_empty() || path == Path::new(":memory:") {
            return Err(StoreError::config(
                "a SQLite store needs the path of a file: for records that end with the process take `MemoryStore`",
            ));
        }
        Ok(SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(self.settings.response_timeout)
            .disable_statement_logging())
    }
}

impl fmt::Debug for SqliteStoreBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStoreBuilder").field("settings", &self.settings).finish_non_exhaustive()
    }
}

//! The accounts, in whatever database there is.

use std::collections::BTreeMap;
use std::path::PathBuf;

use sqlx::{AnyConnection, AssertSqlSafe, Connection as _, Executor as _};
use tempfile::TempDir;

use crate::transfer::Transfer;

pub(crate) const ACCOUNTS: i64 = 50;
pub(crate) const AT_FIRST: i64 = 100_000;

pub(crate) struct Bank {
    url: String,
    /// Makes the transfers of one run of the example different from those of another in the same database.
    run: u32,
    /// Where SQLite's file is, when no other database is named.
    dir: Option<TempDir>,
}

/// The rows of the database in the end.
pub(crate) struct Totals {
    pub(crate) made: usize,
    pub(crate) twice: usize,
    pub(crate) cents: i64,
    /// Accounts whose balance is not what the transfers make of it.
    pub(crate) wrong: usize,
}

impl Totals {
    pub(crate) fn are_right(&self, transfers: usize) -> bool {
        let Self { made, twice, cents, wrong } = *self;
        made == transfers && twice == 0 && wrong == 0 && cents == ACCOUNTS * AT_FIRST
    }
}

impl Bank {
    pub(crate) async fn open(url: Option<String>) -> Result<Self, Box<dyn std::error::Error>> {
        sqlx::any::install_default_drivers();
        let dir = if url.is_none() { Some(tempfile::tempdir()?) } else { None };
        let file =
            dir.as_ref().map(|dir| format!("sqlite://{}?mode=rwc", dir.path().join("bank.db").display()));
        let url = url.or(file).unwrap_or_default();
        let bank = Self { url, run: rand::random(), dir };
        bank.create().await?;
        Ok(bank)
    }

    async fn create(&self) -> sqlx::Result<()> {
        let mut session = self.session().await?;
        for sql in [
            "DROP TABLE IF EXISTS example_accounts",
            "DROP TABLE IF EXISTS example_transfers",
            "CREATE TABLE example_accounts (id bigint PRIMARY KEY, cents bigint NOT NULL)",
            "CREATE TABLE example_transfers (id varchar(40) NOT NULL)",
        ] {
            session.execute(sql).await?;
        }
        for id in 0..ACCOUNTS {
            let account = format!("INSERT INTO example_accounts (id, cents) VALUES ({id}, {AT_FIRST})");
            session.execute(AssertSqlSafe(account)).await?;
        }
        Ok(())
    }

    /// For idem's store.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// For idem's store in SQLite.
    pub(crate) fn path(&self) -> PathBuf {
        self.dir.as_ref().map(|dir| dir.path().join("bank.db")).unwrap_or_default()
    }

    pub(crate) fn name(&self) -> &'static str {
        match self.url.split(':').next() {
            Some("postgres" | "postgresql") => "PostgreSQL",
            Some("mysql" | "mariadb") => "MySQL or MariaDB",
            _ => "SQLite",
        }
    }

    async fn session(&self) -> sqlx::Result<AnyConnection> {
        AnyConnection::connect(&self.url).await
    }

    /// Every tenth fails halfway at first.
    pub(crate) fn transfer(&self, number: usize) -> Transfer {
        let account = || rand::random_range(0..ACCOUNTS);
        Transfer {
            id: format!("{}-{number}", self.run),
            from: account(),
            to: account(),
            cents: rand::random_range(1..1_000),
            fails: number % 10 == 3,
        }
    }

    pub(crate) async fn totals(&self, transfers: &[Transfer]) -> sqlx::Result<Totals> {
        let mut session = self.session().await?;
        let made: Vec<(String, i64)> =
            sqlx::query_as("SELECT id, count(*) FROM example_transfers GROUP BY id")
                .fetch_all(&mut session)
                .await?;
        let accounts: Vec<(i64, i64)> =
            sqlx::query_as("SELECT id, cents FROM example_accounts").fetch_all(&mut session).await?;
        let expected = expected(transfers);
        Ok(Totals {
            made: made.len(),
            twice: made.iter().filter(|(_, rows)| *rows > 1).count(),
            cents: accounts.iter().map(|(_, cents)| cents).sum(),
            wrong: accounts.iter().filter(|(id, cents)| expected.get(id) != Some(cents)).count(),
        })
    }
}

/// The balances after all transfers.
fn expected(transfers: &[Transfer]) -> BTreeMap<i64, i64> {
    let mut accounts: BTreeMap<i64, i64> = (0..ACCOUNTS).map(|id| (id, AT_FIRST)).collect();
    for Transfer { from, to, cents, .. } in transfers {
        *accounts.entry(*from).or_default() -= cents;
        *accounts.entry(*to).or_default() += cents;
    }
    accounts
}

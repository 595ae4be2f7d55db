//! The transfer, and the handler that makes it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use idem_rocketmq::prelude::*;
use sqlx::{MySqlConnection, PgConnection, SqliteConnection};

/// Money from one account to another.
#[derive(Serialize, Deserialize, Message)]
#[message(topic = "transfers", key = "id")]
pub(crate) struct Transfer {
    pub(crate) id: String,
    pub(crate) from: i64,
    pub(crate) to: i64,
    pub(crate) cents: i64,
    /// Whether the first run fails between the two accounts.
    pub(crate) fails: bool,
}

impl Transfer {
    /// How often a producer that heard of no success sends it.
    pub(crate) fn times(&self) -> i64 {
        1 + self.cents % 3
    }
}

/// How often the handler ran. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Runs(Arc<[AtomicUsize; 2]>);

impl Runs {
    pub(crate) fn all(&self) -> usize {
        self.0[0].load(Ordering::Relaxed)
    }

    pub(crate) fn failed(&self) -> usize {
        self.0[1].load(Ordering::Relaxed)
    }
}

/// The handler on one database: `transactional` and the connection make it part of the record's transaction. It is the same
/// on each but for the connection's type and the placeholders of its SQL.
macro_rules! transfer_on {
    ($name:ident, $connection:ty, $take:literal, $give:literal, $book:literal) => {
        #[idempotent(key = "id", topic = "transfers", transactional, backoff = "1s")]
        pub(crate) async fn $name(
            transfer: Transfer,
            tx: &mut $connection,
            State(runs): State<Runs>,
            attempt: Attempt,
        ) -> HandlerResult {
            runs.0[0].fetch_add(1, Ordering::Relaxed);
            let Transfer { id, from, to, cents, fails } = transfer;
            sqlx::query($take).bind(cents).bind(from).execute(&mut *tx).await?;
            if fails && attempt.number() == 1 {
                runs.0[1].fetch_add(1, Ordering::Relaxed);
                return Err("the process of the second account does not answer".into());
            }
            sqlx::query($give).bind(cents).bind(to).execute(&mut *tx).await?;
            sqlx::query($book).bind(id).execute(tx).await?;
            Ok(())
        }
    };
}

transfer_on!(
    on_sqlite,
    SqliteConnection,
    "UPDATE example_accounts SET cents = cents - ? WHERE id = ?",
    "UPDATE example_accounts SET cents = cents + ? WHERE id = ?",
    "INSERT INTO example_transfers (id) VALUES (?)"
);
transfer_on!(
    on_mysql,
    MySqlConnection,
    "UPDATE example_accounts SET cents = cents - ? WHERE id = ?",
    "UPDATE example_accounts SET cents = cents + ? WHERE id = ?",
    "INSERT INTO example_transfers (id) VALUES (?)"
);
transfer_on!(
    on_postgres,
    PgConnection,
    "UPDATE example_accounts SET cents = cents - $1 WHERE id = $2",
    "UPDATE example_accounts SET cents = cents + $1 WHERE id = $2",
    "INSERT INTO example_transfers (id) VALUES ($1)"
);

//! The shop's table, in any of the three databases.

use idem_rocketmq::outbox::TypedOutbox;
use idem_rocketmq::outbox::{MySqlOutbox, PostgresOutbox, SqliteOutbox};
use sqlx::{AnyConnection, Connection as _, Executor as _};

use crate::Failure;
use crate::shop::{OrderPaid, Setting};

/// The shop's statements on its database.
pub(crate) trait Shop: TypedOutbox {
    /// Stores an order, in the transaction that decides over its announcement.
    async fn insert(tx: &mut Self::Connection, order: &OrderPaid, run: &str) -> Result<(), sqlx::Error>;
}

/// The same on each; the placeholders are all that differs.
macro_rules! shops {
    ($($outbox:ty: $insert:literal;)*) => {$(
        impl Shop for $outbox {
            async fn insert(tx: &mut Self::Connection, order: &OrderPaid, run: &str) -> Result<(), sqlx::Error> {
                let insert = sqlx::query($insert).bind(order.order_id.clone()).bind(run.to_owned()).bind(order.cents);
                insert.execute(tx).await.map(drop)
            }
        }
    )*};
}

shops! {
    PostgresOutbox: "INSERT INTO shop_orders (order_id, run, cents) VALUES ($1, $2, $3)";
    MySqlOutbox: "INSERT INTO shop_orders (order_id, run, cents) VALUES (?, ?, ?)";
    SqliteOutbox: "INSERT INTO shop_orders (order_id, run, cents) VALUES (?, ?, ?)";
}

/// The orders that the shop has stored in this run.
pub(crate) struct Ledger {
    url: String,
    run: String,
}

impl Ledger {
    /// With the shop's table, and the outbox's where they can be made by use.
    pub(crate) async fn open(setting: &Setting) -> Result<Self, Failure> {
        sqlx::any::install_default_drivers();
        let is_file = !setting.database.contains("://");
        let url = if is_file {
            format!("sqlite://{}?mode=rwc", setting.database)
        } else {
            setting.database.clone()
        };
        if is_file {
            SqliteOutbox::open(&setting.database).await?;
        }
        let ledger = Self { url, run: setting.run.clone() };
        let create = "CREATE TABLE IF NOT EXISTS shop_orders \
                      (order_id VARCHAR(60) PRIMARY KEY, run VARCHAR(20) NOT NULL, cents BIGINT NOT NULL)";
        ledger.session().await?.execute(create).await?;
        Ok(ledger)
    }

    /// Orders, and their cents.
    pub(crate) async fn totals(&self) -> Result<(usize, i64), Failure> {
        // A run is digits alone.
        let sql = format!("SELECT cents FROM shop_orders WHERE run = '{}'", self.run);
        let cents: Vec<i64> =
            sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_all(&mut self.session().await?).await?;
        Ok((cents.len(), cents.iter().sum()))
    }

    /// Orders whose announcement the broker has not confirmed.
    pub(crate) async fn unconfirmed(&self) -> Result<i64, Failure> {
        let sql = "SELECT count(*) FROM idem_outbox WHERE state = 1";
        Ok(sqlx::query_scalar(sql).fetch_one(&mut self.session().await?).await?)
    }

    async fn session(&self) -> Result<AnyConnection, sqlx::Error> {
        AnyConnection::connect(&self.url).await
    }
}

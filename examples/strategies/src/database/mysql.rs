//! MySQL and MariaDB.

use idem_rocketmq::MySqlStore;
use idem_rocketmq::outbox::MySqlOutbox;
use sqlx::mysql::MySqlPoolOptions;
use sqlx::{MySql, Transaction};

use crate::Error;
use crate::ledger::OUTBOX_TABLE;
use crate::place::Place;

#[path = "../strategies/mod.rs"]
pub(crate) mod strategies;

pub(crate) type Connection = sqlx::MySqlConnection;
pub(crate) type Pool = sqlx::MySqlPool;
pub(crate) type Store = MySqlStore;
pub(crate) type Outbox = MySqlOutbox;

pub(crate) const BOOK: &str = "INSERT INTO example_books (strategy, member, order_id) VALUES (?, ?, ?)";
pub(crate) const PAY: &str = "UPDATE example_locks SET state = 'PAID' WHERE id = ?";
pub(crate) const SELL: &str = "INSERT INTO example_marked_sales (order_id) VALUES (?)";

pub(crate) async fn open(place: &Place) -> Result<(Store, Pool), Error> {
    let url = place.database_url();
    Store::builder(url).migrate().await?;
    let pool = MySqlPoolOptions::new().max_connections(16).connect(url).await?;
    Ok((Store::connect(url).await?, pool))
}

pub(crate) async fn open_outbox(place: &Place) -> Result<Outbox, Error> {
    let outbox = Outbox::builder(place.database_url()).table(OUTBOX_TABLE);
    outbox.migrate().await?;
    Ok(outbox.connect().await?)
}

pub(crate) async fn begin(pool: &Pool) -> sqlx::Result<Transaction<'static, MySql>> {
    pool.begin().await
}

//! PostgreSQL.

use idem_rocketmq::PostgresStore;
use idem_rocketmq::outbox::PostgresOutbox;
use sqlx::postgres::PgPoolOptions;
use sqlx::{Postgres, Transaction};

use crate::Error;
use crate::ledger::OUTBOX_TABLE;
use crate::place::Place;

#[path = "../strategies/mod.rs"]
pub(crate) mod strategies;

pub(crate) type Connection = sqlx::PgConnection;
pub(crate) type Pool = sqlx::PgPool;
pub(crate) type Store = PostgresStore;
pub(crate) type Outbox = PostgresOutbox;

pub(crate) const BOOK: &str = "INSERT INTO example_books (strategy, member, order_id) VALUES ($1, $2, $3)";
pub(crate) const PAY: &str = "UPDATE example_locks SET state = 'PAID' WHERE id = $1";
pub(crate) const SELL: &str = "INSERT INTO example_marked_sales (order_id) VALUES ($1)";

pub(crate) async fn open(place: &Place) -> Result<(Store, Pool), Error> {
    let url = place.database_url();
    Store::builder(url).migrate().await?;
    let pool = PgPoolOptions::new().max_connections(16).connect(url).await?;
    Ok((Store::connect(url).await?, pool))
}

pub(crate) async fn open_outbox(place: &Place) -> Result<Outbox, Error> {
    let outbox = Outbox::builder(place.database_url()).table(OUTBOX_TABLE);
    outbox.migrate().await?;
    Ok(outbox.connect().await?)
}

pub(crate) async fn begin(pool: &Pool) -> sqlx::Result<Transaction<'static, Postgres>> {
    pool.begin().await
}

//! Goods that orders take out of a stock, and the handler that takes them.

use diesel::dsl::count_star;
use diesel::prelude::*;
use diesel_async::pooled_connection::AsyncDieselConnectionManager;
use diesel_async::pooled_connection::deadpool::Pool;
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection as _};
use idem_rocketmq::prelude::*;

use crate::Failure;
use crate::runs::Runs;
use crate::schema::{NewPick, TABLES, example_picks, example_stock};

pub(crate) const SKUS: i64 = 20;
/// Pieces of each in the beginning: more than all orders want.
pub(crate) const STOCK: i64 = 1_000;

/// Pieces that an order takes.
#[derive(Serialize, Deserialize, Message)]
#[message(topic = "picks", key = "id")]
pub(crate) struct Pick {
    pub(crate) id: String,
    pub(crate) sku: i64,
    pub(crate) pieces: i64,
    /// Whether the first run fails between the two tables.
    pub(crate) fails: bool,
}

impl Pick {
    /// How often a producer that heard of no success sends it.
    pub(crate) fn times(&self) -> i64 {
        1 + self.pieces % 3
    }
}

/// Works with diesel alone; the connection is in the transaction that the message's record commits in.
#[idempotent(key = "id", topic = "picks", transactional, backoff = "1s")]
pub(crate) async fn pick(
    pick: Pick,
    conn: &mut AsyncPgConnection,
    State(runs): State<Runs>,
    attempt: Attempt,
) -> HandlerResult {
    runs.begin();
    let Pick { id, sku, pieces, fails } = pick;
    diesel::update(example_stock::table.find(sku))
        .set(example_stock::pieces.eq(example_stock::pieces - pieces))
        .execute(conn)
        .await?;
    if fails && attempt.number() == 1 {
        runs.fail();
        return Err("the printer of labels does not answer".into());
    }
    diesel::insert_into(example_picks::table).values(NewPick { id: &id, sku, pieces }).execute(conn).await?;
    Ok(())
}

/// The rows of the database in the end.
#[derive(Debug, PartialEq)]
pub(crate) struct Totals {
    pub(crate) made: usize,
    pub(crate) twice: usize,
    /// Pieces that are gone from the stock, and pieces that picks say they took.
    pub(crate) gone: i64,
    pub(crate) taken: i64,
}

pub(crate) struct Warehouse {
    pool: Pool<AsyncPgConnection>,
    /// Makes the picks of one run of the example different from those of another in the same database.
    run: u32,
}

impl Warehouse {
    pub(crate) async fn open(url: &str) -> Result<Self, Failure> {
        let manager = AsyncDieselConnectionManager::<AsyncPgConnection>::new(url);
        let pool = Pool::builder(manager).max_size(8).build()?;
        let mut conn = pool.get().await?;
        conn.batch_execute(TABLES).await?;
        let rows: Vec<_> =
            (0..SKUS).map(|sku| (example_stock::sku.eq(sku), example_stock::pieces.eq(STOCK))).collect();
        diesel::insert_into(example_stock::table).values(rows).execute(&mut conn).await?;
        drop(conn);
        Ok(Self { pool, run: rand::random() })
    }

    /// A connection beside the pool's.
    #[cfg(test)]
    pub(crate) async fn session(url: &str) -> Result<AsyncPgConnection, Failure> {
        use diesel_async::AsyncConnection as _;
        Ok(AsyncPgConnection::establish(url).await?)
    }

    pub(crate) fn pool(&self) -> Pool<AsyncPgConnection> {
        self.pool.clone()
    }

    /// Every tenth fails halfway at first.
    pub(crate) fn pick(&self, number: usize) -> Pick {
        Pick {
            id: format!("{}-{number}", self.run),
            sku: rand::random_range(0..SKUS),
            pieces: rand::random_range(1..10),
            fails: number % 10 == 3,
        }
    }

    pub(crate) async fn totals(&self) -> Result<Totals, Failure> {
        let mut conn = self.pool.get().await?;
        let made: Vec<(String, i64)> = example_picks::table
            .group_by(example_picks::id)
            .select((example_picks::id, count_star()))
            .load(&mut conn)
            .await?;
        let stock: Vec<i64> = example_stock::table.select(example_stock::pieces).load(&mut conn).await?;
        let taken: Vec<i64> = example_picks::table.select(example_picks::pieces).load(&mut conn).await?;
        Ok(Totals {
            made: made.len(),
            twice: made.iter().filter(|(_, rows)| *rows > 1).count(),
            gone: SKUS * STOCK - stock.iter().sum::<i64>(),
            taken: taken.iter().sum(),
        })
    }
}

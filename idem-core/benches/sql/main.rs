//! Idem's throughput over each SQL store, beside the database's own with the same statements.
//!
//! `cargo bench -p idem-core --features postgres,mysql,sqlite --bench sql`; names of parts behind `--` run those alone, and
//! `large`, which takes some minutes and six gigabytes of disk, runs only when it is named.
//!
//! PostgreSQL and MariaDB are the servers that `IDEM_TEST_POSTGRES_URL` and `IDEM_TEST_MYSQL_URL` name; one that is not
//! named is left out. On the same server, in turn:
//!
//! - `lease`: fresh keys are claimed and completed in batches of 32 by the engine over the store, from enter to settle, from
//!   several tasks; and by the store's own two statements and nothing else: by `pgbench -M prepared` on PostgreSQL, which makes
//!   up its keys on the server, else by a loop on connections of sqlx; as many connections as the store has.
//! - `transactions`: a handler that writes two rows in one transaction with its record, through the engine; and the same
//!   statements by `pgbench -M prepared`. PostgreSQL alone.
//! - `tier`: known duplicates, answered by PostgreSQL, and by a cache in memory in front of it.
//! - `bytes`: what a key costs on the disk, and in the log that the database writes.
//! - `large`: how long a claim of 32 fresh keys takes among ten thousand completed records and among ten million, also while
//!   a purge runs; for keys that grow, and for random ones. On MariaDB, random ones need a buffer pool that holds the table:
//!   `SET GLOBAL innodb_buffer_pool_size = 4294967296`.

mod bytes;
mod large;
mod lease;
mod pgbench;
mod tier;
mod transactions;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use idem_core::store::PostgresStoreBuilder;
use idem_core::{IdempotencyKey, Namespace, PostgresStore, RecordKey};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};

const ROUNDS: usize = 5;
/// Of the connections of a store, and of what it is compared with.
const CONNECTIONS: usize = 8;
const LEASE: Duration = Duration::from_secs(30);
const RETENTION: Duration = Duration::from_hours(96);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let parts: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let named = |part: &str| parts.iter().any(|named| named == part);
    let wanted = |part: &str| parts.is_empty() || named(part);
    let (postgres, mysql) =
        ["IDEM_TEST_POSTGRES_URL", "IDEM_TEST_MYSQL_URL"].map(|name| std::env::var(name).ok()).into();
    if wanted("lease") {
        lease::run(postgres.as_deref(), mysql.as_deref()).await?;
    }
    if let Some(url) = postgres.as_deref() {
        if wanted("transactions") {
            transactions::run(url).await?;
        }
        if wanted("tier") {
            tier::run(url).await?;
        }
    }
    if wanted("bytes") {
        bytes::run(postgres.as_deref(), mysql.as_deref()).await?;
    }
    if named("large") {
        large::run(postgres.as_deref(), mysql.as_deref()).await?;
    }
    Ok(())
}

/// An empty schema of a name, with a store's tables.
async fn fresh_schema(url: &str, name: &str) -> anyhow::Result<(PgConnection, PostgresStoreBuilder)> {
    let mut session = PgConnection::connect(url).await?;
    let again = format!("DROP SCHEMA IF EXISTS {name} CASCADE; CREATE SCHEMA {name}");
    session.execute(sqlx::raw_sql(AssertSqlSafe(again))).await?;
    let builder = PostgresStore::builder(url).schema(name).connections(u32::try_from(CONNECTIONS)?);
    builder.migrate().await?;
    Ok((session, builder))
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).expect("a short time")
}

/// Prints the medians of two rates and whether their ratio keeps the budget.
fn report(what: &str, ours: Vec<f64>, theirs: Vec<f64>, budget: f64) {
    let (ours, theirs) = (quantile(ours, 50), quantile(theirs, 50));
    let ratio = ours / theirs;
    let kept = if ratio >= budget { "kept" } else { "MISSED" };
    println!("{what:<14} {ours:>14.0} {theirs:>14.0} {ratio:>8.2} (budget: at least {budget:.2}, {kept})");
}

fn quantile(mut values: Vec<f64>, percent: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    values[(values.len() - 1) * percent / 100]
}

/// Has each worker work on numbers until all are done; the numbers per second.
async fn loops<W: Send + 'static, F>(
    workers: Vec<W>,
    count: usize,
    work: impl Fn(W, usize) -> F + Send + Sync + 'static,
) -> anyhow::Result<f64>
where
    F: Future<Output = anyhow::Result<W>> + Send,
{
    let (work, next) = (Arc::new(work), Arc::new(AtomicUsize::new(0)));
    let begun = Instant::now();
    let task = |mut worker: W| {
        let (work, next) = (work.clone(), next.clone());
        tokio::spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return anyhow::Ok(());
                }
                worker = work(worker, number).await?;
            }
        })
    };
    let tasks: Vec<_> = workers.into_iter().map(task).collect();
    for task in tasks {
        task.await??;
    }
    Ok(per_second(count, begun.elapsed()))
}

#[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
fn per_second(count: usize, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64()
}

/// The key of a message; its number always has twelve digits.
fn key(round: usize, number: usize) -> RecordKey {
    record_key(&format!("{round:02}{number:010}"))
}

fn record_key(key: &str) -> RecordKey {
    let namespace = Namespace::new(["", "bench", "topic", "orders", "PAID"]);
    RecordKey::new(namespace, IdempotencyKey::new(key).expect("a short key"))
}

/// The prefix of a stored key of so many characters, in hexadecimal digits.
fn hex_prefix(characters: usize) -> String {
    let stored = record_key(&"0".repeat(characters)).to_bytes();
    hex(&stored[..stored.len() - characters])
}

fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
}

//! An operator among ten million records, of which a thousand are in doubt.
//!
//! `cargo bench -p idem-core --features redis,postgres,mysql,sqlite --bench admin`; a number behind `--` is another number of
//! records, and `redis`, `postgres`, `mysql` or `sqlite` run that store alone. It takes some minutes and ten gigabytes of disk
//! and memory.
//!
//! The servers are those that `IDEM_TEST_REDIS_URL`, `IDEM_TEST_POSTGRES_URL` and `IDEM_TEST_MYSQL_URL` name; one that is not
//! named is left out. SQLite's file lies in the working directory. On each: how long a listing of all records in doubt takes,
//! the CPU time of the server's processes and of this one for it; how long a claim of 32 fresh keys takes meanwhile, beside alone; and
//! how long one decision takes.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use idem_core::admin::Admin;
use idem_core::store::{ClaimRequest, ListedKey, Purge, RecordFilter};
use idem_core::{
    IdempotencyKey, MemberId, MySqlStore, Namespace, PostgresStore, RecordKey, RedisStore, SqliteStore,
    Store, Token,
};
use sqlx::mysql::MySqlConnection;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _};

const DOUBTS: usize = 1_000;
const BATCH: usize = 32;
const PREFIX: &str = "idem-bench-admin:";
const NAME: &str = "idem_bench_admin";
const LIFE: Duration = Duration::from_hours(96);
/// A doubt as records have it: it timed out, in the first attempt.
const DOUBT: &str = "0200060a24181e4000000000010909090909090909";

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let records = words.iter().find_map(|word| word.parse().ok()).unwrap_or(10_000_000);
    let names: Vec<_> = words.iter().filter(|word| word.parse::<usize>().is_err()).collect();
    let wanted = |name: &str| names.is_empty() || names.iter().any(|wanted| *wanted == name);
    println!(
        "{records} records, {DOUBTS} of them in doubt; a claim is one of {BATCH} fresh keys, median and 99th percentile"
    );
    println!(
        "{:<12} {:>10} {:>12} {:>12} {:>20} {:>20} {:>10}",
        "", "listing", "server CPU", "own CPU", "claims alone", "claims meanwhile", "decision"
    );
    if let Some(url) = std::env::var("IDEM_TEST_REDIS_URL").ok().filter(|_| wanted("redis")) {
        redis_server(&url, records).await?;
    }
    if let Some(url) = std::env::var("IDEM_TEST_POSTGRES_URL").ok().filter(|_| wanted("postgres")) {
        postgres(&url, records).await?;
    }
    if let Some(url) = std::env::var("IDEM_TEST_MYSQL_URL").ok().filter(|_| wanted("mysql")) {
        mysql(&url, records).await?;
    }
    if wanted("sqlite") {
        sqlite(records).await?;
    }
    Ok(())
}

/// Lists, decides and claims; prints a row.
async fn measure(title: &str, server: &str, store: impl Store) -> anyhow::Result<()> {
    let store: Arc<dyn Store> = Arc::new(store);
    let alone = claims(&store, 300).await?;
    let is_over = Arc::new(AtomicBool::new(false));
    let meanwhile = {
        let (store, is_over) = (store.clone(), is_over.clone());
        tokio::spawn(async move {
            let mut took = Vec::new();
            while !is_over.load(Ordering::Acquire) || took.len() < 20 {
                took.extend(claims(&store, 1).await?);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            anyhow::Ok(took)
        })
    };
    let admin = Admin::new(store.clone(), "the benchmark").retention(LIFE);
    let (before, begun) = ((cpu_of(server), cpu_of("self")), Instant::now());
    let doubts = admin.list(RecordFilter::new().in_doubt(true)).all().await?;
    let listing = begun.elapsed();
    let after = (cpu_of(server), cpu_of("self"));
    is_over.store(true, Ordering::Release);
    let meanwhile = meanwhile.await??;
    anyhow::ensure!(doubts.len() == DOUBTS, "{} records in doubt were found", doubts.len());
    let mut decisions = Vec::new();
    for found in doubts.iter().take(100) {
        let ListedKey::Whole(key) = &found.key else { anyhow::bail!("{:?}", found.key) };
        let begun = Instant::now();
        admin.done(key, "the benchmark").await?;
        decisions.push(begun.elapsed());
    }
    println!(
        "{title:<12} {:>8.2} s {:>10.2} s {:>10.2} s {:>20} {:>20} {:>7.1} ms",
        listing.as_secs_f64(),
        after.0 - before.0,
        after.1 - before.1,
        shown(alone),
        shown(meanwhile),
        millis(quantile(decisions, 50)),
    );
    Ok(())
}

async fn claims(store: &Arc<dyn Store>, count: usize) -> anyhow::Result<Vec<Duration>> {
    let mut took = Vec::with_capacity(count);
    for _ in 0..count {
        let claim = |_| {
            let key = IdempotencyKey::new(format!("{:032x}", rand::random::<u128>())).expect("a short key");
            let key = RecordKey::new(Namespace::new(["", "bench", "fresh"]), key);
            ClaimRequest::new(key, Token::random(), Duration::from_secs(30), LIFE, MemberId::random())
        };
        let batch: Vec<_> = (0..BATCH).map(claim).collect();
        let begun = Instant::now();
        let answers = store.claim(&batch).await?;
        took.push(begun.elapsed());
        anyhow::ensure!(answers.iter().all(Result::is_ok), "{answers:?}");
    }
    Ok(took)
}

fn shown(took: Vec<Duration>) -> String {
    format!("{:.1} and {:.1} ms", millis(quantile(took.clone(), 50)), millis(quantile(took, 99)))
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

fn quantile(mut values: Vec<Duration>, percent: usize) -> Duration {
    values.sort_unstable();
    values[(values.len() - 1) * percent / 100]
}

/// The seconds of CPU time of all processes of that name so far, or of this one; of those that have ended, as far as their
/// parent has waited for them.
fn cpu_of(name: &str) -> f64 {
    let seconds = |path: &Path| {
        let stat = std::fs::read_to_string(path.join("stat")).ok()?;
        let (command, rest) = stat.split_once('(')?.1.rsplit_once(')')?;
        let fields: Vec<f64> =
            rest.split_whitespace().skip(11).take(4).filter_map(|field| field.parse().ok()).collect();
        (name == "self" || command == name).then(|| fields.iter().sum::<f64>() / 100.0)
    };
    if name == "self" {
        return seconds(Path::new("/proc/self")).unwrap_or_default();
    }
    let Ok(processes) = std::fs::read_dir("/proc") else { return 0.0 };
    processes.flatten().filter_map(|process| seconds(&process.path())).sum()
}

fn key_prefix() -> Vec<u8> {
    let key = RecordKey::new(
        Namespace::new(["", "bench", "topic", "orders", "PAID"]),
        IdempotencyKey::new("0000000000").expect("a short key"),
    );
    let stored = key.to_bytes();
    stored[..stored.len() - 11].to_vec()
}

fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).expect("a short time")
}

async fn redis_server(url: &str, records: usize) -> anyhow::Result<()> {
    /// How many records a script makes.
    const STEP: usize = 10_000;
    let config = redis::AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_mins(1)));
    let client = redis::Client::open(url)?;
    let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
    // A record as `Record::encode` lays it out: completed, or released and in doubt.
    let fill = redis::Script::new(
        "local first, step, every = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
        for i = first, first + step - 1 do
          local doubt = i % every == 0
          local value = '\\1' .. (doubt and 'R' or 'C') .. string.rep('t', 16)
            .. struct.pack('>I8I8I4', 0, 1700000000000000 + i, 0) .. string.rep('m', 8)
            .. (doubt and '\\9' .. ARGV[5] or '\\8') .. '\\16' .. string.rep('i', 16)
          redis.call('SET', ARGV[1] .. string.format('%010d', i) .. ',', value, 'PX', ARGV[6])
        end",
    );
    let doubt: Vec<u8> = (0..DOUBT.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&DOUBT[at..at + 2], 16))
        .collect::<Result<_, _>>()?;
    let prefix = [PREFIX.as_bytes(), &key_prefix()].concat();
    for first in (0..records).step_by(STEP) {
        let mut call = fill.prepare_invoke();
        call.arg(&prefix)
            .arg(first)
            .arg(STEP.min(records - first))
            .arg(records / DOUBTS)
            .arg(&doubt)
            .arg(LIFE.as_secs() * 1_000);
        call.invoke_async::<()>(&mut connection).await?;
    }
    let store = RedisStore::builder(url).key_prefix(PREFIX).connect().await?;
    measure("Redis", "redis-server", store).await?;
    redis::cmd("FLUSHDB").exec_async(&mut connection).await?;
    Ok(())
}

async fn postgres(url: &str, records: usize) -> anyhow::Result<()> {
    let mut session = PgConnection::connect(url).await?;
    let again = format!("DROP SCHEMA IF EXISTS {NAME} CASCADE; CREATE SCHEMA {NAME}");
    session.execute(sqlx::raw_sql(AssertSqlSafe(again))).await?;
    let builder = PostgresStore::builder(url).schema(NAME).purge(Purge::off());
    builder.migrate().await?;
    let (prefix, lives, every) = (hex(&key_prefix()), micros(LIFE), records / DOUBTS);
    let fill = format!(
        "INSERT INTO {NAME}.idem_records (key, version, state, token, fence, attempts, lease_end, expires_at, member, doubt)
         SELECT decode('{prefix}', 'hex') || convert_to(lpad(i::text, 10, '0') || ',', 'UTF8'), 1,
             CASE WHEN i % {every} = 0 THEN 3 ELSE 2 END, decode(md5(i::text), 'hex'), now, 0, now, now + {lives},
             int8send(i), CASE WHEN i % {every} = 0 THEN decode('{DOUBT}', 'hex') END
         FROM generate_series(1, {records}) AS s (i),
             (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS now) AS clock"
    );
    session.execute(sqlx::raw_sql(AssertSqlSafe(fill))).await?;
    session.execute(sqlx::raw_sql(AssertSqlSafe(format!("VACUUM ANALYZE {NAME}.idem_records")))).await?;
    session.execute("CHECKPOINT").await?;
    measure("PostgreSQL", "postgres", builder.connect().await?).await?;
    session.execute(sqlx::raw_sql(AssertSqlSafe(format!("DROP SCHEMA {NAME} CASCADE")))).await?;
    Ok(())
}

async fn mysql(url: &str, records: usize) -> anyhow::Result<()> {
    let mut session = MySqlConnection::connect(url).await?;
    let again = format!("DROP DATABASE IF EXISTS {NAME}; CREATE DATABASE {NAME}");
    session.execute(sqlx::raw_sql(AssertSqlSafe(again))).await?;
    let builder = MySqlStore::builder(url).schema(NAME).purge(Purge::off());
    builder.migrate().await?;
    let (prefix, lives, every) = (hex(&key_prefix()), micros(LIFE), records / DOUBTS);
    let fill = format!(
        "INSERT INTO {NAME}.idem_records (`key`, version, state, token, fence, attempts, lease_end, expires_at, member, doubt)
         SELECT CONCAT(UNHEX('{prefix}'), LPAD(seq, 10, '0'), ','), 1, IF(seq % {every} = 0, 3, 2), UNHEX(MD5(seq)), now, 0, now,
             now + {lives}, UNHEX(LPAD(HEX(seq), 16, '0')), IF(seq % {every} = 0, UNHEX('{DOUBT}'), NULL)
         FROM {NAME}.seq_1_to_{records},
             (SELECT TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) AS now) AS clock"
    );
    session.execute(sqlx::raw_sql(AssertSqlSafe(fill))).await?;
    measure("MariaDB", "mariadbd", builder.connect().await?).await?;
    session.execute(sqlx::raw_sql(AssertSqlSafe(format!("DROP DATABASE {NAME}")))).await?;
    Ok(())
}

async fn sqlite(records: usize) -> anyhow::Result<()> {
    let dir = tempfile::tempdir_in(".")?;
    let path = dir.path().join("idem.db");
    let builder = SqliteStore::builder(&path).purge(Purge::off());
    let store = builder.open().await?;
    let (prefix, lives, every) = (hex(&key_prefix()), micros(LIFE), records / DOUBTS);
    let fill = format!(
        "WITH RECURSIVE s (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < {records}),
             clock (now) AS (SELECT CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER))
         INSERT INTO idem_records (key, version, state, token, fence, attempts, lease_end, expires_at, member, doubt)
         SELECT CAST(x'{prefix}' || printf('%010d', i) || ',' AS BLOB), 1, CASE WHEN i % {every} = 0 THEN 3 ELSE 2 END,
             randomblob(16), now, 0, now, now + {lives}, randomblob(8), CASE WHEN i % {every} = 0 THEN x'{DOUBT}' END
         FROM s, clock"
    );
    SqliteConnectOptions::new()
        .filename(&path)
        .connect()
        .await?
        .execute(sqlx::raw_sql(AssertSqlSafe(fill)))
        .await?;
    measure("SQLite", "(none)", store).await
}

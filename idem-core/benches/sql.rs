//! What the engine reaches over each SQL store, beside what the database itself reaches with the same statements.
//!
//! `cargo bench -p idem-core --features postgres,mysql,sqlite --bench sql`
//!
//! PostgreSQL and MariaDB are the servers that `IDEM_TEST_POSTGRES_URL` and `IDEM_TEST_MYSQL_URL` name; one that is not
//! named is left out. On the same server, in turn, fresh keys are claimed and completed in batches of 32 by
//!
//! - the engine over the store, from enter to settle, from several tasks;
//! - the store's own two statements and nothing else: by `pgbench -M prepared` on PostgreSQL, which makes up its keys on the
//!   server, else by a loop on connections of sqlx; as many connections as the store has.

use std::future::Future;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use idem_core::engine::{Admission, Engine, Entry, Gate};
use idem_core::{
    IdempotencyKey, Job, MySqlStore, Namespace, PostgresStore, RecordKey, Settings, SqliteStore, Store, Token,
};
use sqlx::mysql::MySqlConnection;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, SqlSafeStr as _, SqlStr};

const BATCH: usize = 32;
const BATCHES: usize = 1_000;
const TASKS: usize = 16;
const ROUNDS: usize = 5;
const CONNECTIONS: usize = 8;
const LEASE: i64 = 30_000_000;
const RETENTION: i64 = 4 * 86_400_000_000;
const BUDGET: f64 = 0.7;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    println!(
        "{BATCHES} batches of {BATCH} fresh keys, claimed and completed; medians of {ROUNDS} rounds in turn"
    );
    println!("{:<12} {:>14} {:>14} {:>8}", "", "engine, keys/s", "bare, keys/s", "ratio");
    if let Ok(url) = std::env::var("IDEM_TEST_POSTGRES_URL") {
        postgres(&url).await?;
    }
    if let Ok(url) = std::env::var("IDEM_TEST_MYSQL_URL") {
        mysql(&url).await?;
    }
    sqlite().await
}

fn report(what: &str, mut engine: Vec<f64>, mut bare: Vec<f64>) {
    let middle = |rates: &mut Vec<f64>| {
        rates.sort_by(f64::total_cmp);
        rates[rates.len() / 2]
    };
    let (engine, bare) = (middle(&mut engine), middle(&mut bare));
    let kept = if engine / bare >= BUDGET { "kept" } else { "MISSED" };
    println!(
        "{what:<12} {engine:>14.0} {bare:>14.0} {:>8.2} (budget: at least {BUDGET:.2}, {kept})",
        engine / bare
    );
}

async fn postgres(url: &str) -> anyhow::Result<()> {
    let mut session = PgConnection::connect(url).await?;
    session.execute("DROP SCHEMA IF EXISTS idem_bench CASCADE; CREATE SCHEMA idem_bench").await?;
    let builder = PostgresStore::builder(url).schema("idem_bench").connections(u32::try_from(CONNECTIONS)?);
    builder.migrate().await?;
    let store = Arc::new(builder.connect().await?);
    let (mut engine_rates, mut bare) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        session.execute("TRUNCATE idem_bench.idem_records; CHECKPOINT").await?;
        engine_rates.push(engine(store.clone(), round).await?);
        session.execute("TRUNCATE idem_bench.idem_records; CHECKPOINT").await?;
        bare.push(pgbench(url)?);
    }
    report("PostgreSQL", engine_rates, bare);
    Ok(())
}

/// The keys per second that `pgbench` claims and completes.
fn pgbench(url: &str) -> anyhow::Result<f64> {
    let column = |value: &str| {
        format!("(SELECT array_agg({value} ORDER BY i) FROM generate_series(1, {BATCH}) AS s (i))")
    };
    // In hexadecimal digits, because pgbench takes a word behind a colon for a variable of its own, even in a string.
    let stored = key(0, 0).to_bytes();
    let prefix: String = stored[..stored.len() - 13]
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from_digit(digit.into(), 16).unwrap())
        .collect();
    let key = column(&format!(
        "decode('{prefix}', 'hex') || convert_to(lpad((:base::bigint + i)::text, 12, '0'), 'UTF8')"
    ));
    let token = column("decode(md5((:base::bigint + i)::text), 'hex')");
    let (lease, retention, none) =
        (column(&LEASE.to_string()), column(&RETENTION.to_string()), column("NULL::bytea"));
    let fill = |statement: &str, columns: &[&str]| {
        let names = statement.replace("\"idem_records\"", "idem_bench.idem_records");
        let without_comments =
            names.lines().filter(|line| !line.trim_start().starts_with("--")).collect::<Vec<_>>();
        let numbered = columns.iter().enumerate();
        numbered.fold(without_comments.join(" "), |text, (index, column)| {
            text.replace(&format!("${}", index + 1), column)
        })
    };
    let claim =
        fill(include_str!("../src/store/postgres/sql/claim.sql"), &[&key, &token, &lease, &retention, &none]);
    let complete = fill(
        include_str!("../src/store/postgres/sql/complete.sql"),
        &[&key, &token, &retention, &lease, &none, &none],
    );
    let script = tempfile::NamedTempFile::new()?;
    std::fs::write(
        script.path(),
        format!("\\set base {BATCH} * random(1, 1000000000)\n{claim};\n{complete};\n"),
    )?;
    let (connections, each) = (CONNECTIONS.to_string(), (BATCHES / CONNECTIONS).to_string());
    let program = std::env::var("IDEM_BENCH_PGBENCH").unwrap_or_else(|_| "pgbench".to_owned());
    let output = Command::new(program)
        .args(["-n", "-M", "prepared", "-c", &connections, "-j", "2", "-t", &each, "-f"])
        .arg(script.path())
        .arg(url)
        .env("PGOPTIONS", "-c plan_cache_mode=force_generic_plan -c enable_seqscan=off -c enable_hashjoin=off -c enable_mergejoin=off")
        .output()
        .context("pgbench is PostgreSQL's; IDEM_BENCH_PGBENCH says where it is")?;
    let text = String::from_utf8(output.stdout)?;
    let rate =
        text.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse::<f64>().ok());
    #[expect(clippy::cast_precision_loss, reason = "a batch is small")]
    rate.map(|rate| rate * BATCH as f64)
        .with_context(|| format!("pgbench said {text}{}", String::from_utf8_lossy(&output.stderr)))
}

async fn mysql(url: &str) -> anyhow::Result<()> {
    let mut session = MySqlConnection::connect(url).await?;
    session
        .execute(sqlx::raw_sql(
            "DROP DATABASE IF EXISTS idem_bench; CREATE DATABASE idem_bench; USE idem_bench",
        ))
        .await?;
    let builder = MySqlStore::builder(url).schema("idem_bench").connections(u32::try_from(CONNECTIONS)?);
    builder.migrate().await?;
    let store = Arc::new(builder.connect().await?);
    let (mut engine_rates, mut bare) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        session.execute("TRUNCATE idem_records").await?;
        engine_rates.push(engine(store.clone(), round).await?);
        session.execute("TRUNCATE idem_records").await?;
        bare.push(bare_mysql(url, round).await?);
    }
    report("MariaDB", engine_rates, bare);
    Ok(())
}

async fn bare_mysql(url: &str, round: usize) -> anyhow::Result<f64> {
    let claim = rows(concat!(
        include_str!("../src/store/mysql/sql/claim.sql"),
        include_str!("../src/store/mysql/sql/claim_returning.sql")
    ));
    let complete = rows(concat!(
        include_str!("../src/store/mysql/sql/complete.sql"),
        include_str!("../src/store/mysql/sql/complete_returning.sql")
    ));
    let mut sessions = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut session = MySqlConnection::connect(url).await?;
        let settings = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED; USE idem_bench";
        session.execute(sqlx::raw_sql(settings)).await?;
        sessions.push(session);
    }
    loops(sessions, move |mut session, batch| {
        let (claim, complete) = (claim.clone(), complete.clone());
        async move {
            let work = work(round, batch);
            let claims = work.iter().fold(sqlx::query(claim), |query, (key, token)| {
                query
                    .bind(key.clone())
                    .bind(token.clone())
                    .bind(None::<Vec<u8>>)
                    .bind(LEASE)
                    .bind(LEASE + RETENTION)
            });
            anyhow::ensure!(claims.fetch_all(&mut session).await?.len() == BATCH);
            let completions = work.iter().fold(sqlx::query(complete), |query, (key, token)| {
                let query = query.bind(key.clone()).bind(token.clone()).bind(1_i64);
                query.bind(None::<Vec<u8>>).bind(None::<Vec<u8>>).bind(RETENTION)
            });
            anyhow::ensure!(completions.fetch_all(&mut session).await?.len() == BATCH);
            Ok(session)
        }
    })
    .await
}

async fn sqlite() -> anyhow::Result<()> {
    let (mut engine_rates, mut bare) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let dir = tempfile::tempdir_in(".")?;
        engine_rates
            .push(engine(Arc::new(SqliteStore::open(dir.path().join("engine.db")).await?), round).await?);
        let path = dir.path().join("bare.db");
        SqliteStore::open(&path).await?;
        let options = SqliteConnectOptions::new().filename(&path).journal_mode(SqliteJournalMode::Wal);
        let options = options.synchronous(SqliteSynchronous::Full);
        bare.push(bare_sqlite(SqliteConnection::connect_with(&options).await?, round).await?);
    }
    report("SQLite", engine_rates, bare);
    Ok(())
}

async fn bare_sqlite(session: SqliteConnection, round: usize) -> anyhow::Result<f64> {
    let claim = rows(include_str!("../src/store/sqlite/sql/claim.sql"));
    let complete = rows(include_str!("../src/store/sqlite/sql/complete.sql"));
    loops(vec![session], move |mut session, batch| {
        let (claim, complete) = (claim.clone(), complete.clone());
        async move {
            let work = work(round, batch);
            let claims = work.iter().fold(
                sqlx::query(claim).bind(1_800_000_000_000_000_i64),
                |query, (key, token)| {
                    query
                        .bind(key.clone())
                        .bind(token.clone())
                        .bind(LEASE)
                        .bind(RETENTION)
                        .bind(None::<Vec<u8>>)
                },
            );
            anyhow::ensure!(claims.fetch_all(&mut session).await?.len() == BATCH);
            let completions = work.iter().fold(
                sqlx::query(complete).bind(1_800_000_000_000_000_i64),
                |query, (key, token)| {
                    let query = query.bind(key.clone()).bind(token.clone()).bind(RETENTION).bind(1_i64);
                    query.bind(None::<Vec<u8>>).bind(None::<Vec<u8>>)
                },
            );
            anyhow::ensure!(completions.fetch_all(&mut session).await?.len() == BATCH);
            Ok(session)
        }
    })
    .await
}

/// A statement of the SQL files for a whole batch.
fn rows(template: &str) -> SqlStr {
    let mut parts = template.split("/*each*/");
    let (before, row, after) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
    AssertSqlSafe(format!("{before}{}{after}", vec![row; BATCH].join(", "))).into_sql_str()
}

/// Keys and tokens of a batch.
fn work(round: usize, batch: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
    let one = |i| (key(round, batch * BATCH + i).to_bytes(), Token::random().to_bytes().to_vec());
    (0..BATCH).map(one).collect()
}

/// Has each session work on batches until all are done; the keys per second.
async fn loops<S: Send + 'static, F>(
    sessions: Vec<S>,
    work: impl Fn(S, usize) -> F + Send + Sync + 'static,
) -> anyhow::Result<f64>
where
    F: Future<Output = anyhow::Result<S>> + Send,
{
    let (work, next) = (Arc::new(work), Arc::new(AtomicUsize::new(0)));
    let begun = Instant::now();
    let task = |mut session: S| {
        let (work, next) = (work.clone(), next.clone());
        tokio::spawn(async move {
            loop {
                let batch = next.fetch_add(1, Ordering::Relaxed);
                if batch >= BATCHES {
                    return anyhow::Ok(());
                }
                session = work(session, batch).await?;
            }
        })
    };
    let tasks: Vec<_> = sessions.into_iter().map(task).collect();
    for task in tasks {
        task.await??;
    }
    Ok(per_second(BATCHES * BATCH, begun.elapsed()))
}

#[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
fn per_second(count: usize, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64()
}

/// The key of a message; its number always has twelve digits.
fn key(round: usize, number: usize) -> RecordKey {
    let namespace = Namespace::new(["", "bench", "topic", "orders", "PAID"]);
    let key = IdempotencyKey::new(format!("{round:02}{number:010}")).expect("a short key");
    RecordKey::new(namespace, key)
}

async fn engine(store: Arc<dyn Store>, round: usize) -> anyhow::Result<f64> {
    let engine = Engine::new(store);
    let mut settings = Settings::new();
    // No task is to wait for a permit: it is the store that is measured.
    settings.concurrency = Some(2 * TASKS * BATCH);
    let gate = engine.gate("bench", settings.resolve()?);
    loops(vec![gate; TASKS], move |gate, batch| async move {
        handle(&gate, round, batch).await?;
        Ok(gate)
    })
    .await
}

async fn handle(gate: &Gate, round: usize, batch: usize) -> anyhow::Result<()> {
    let job = |i| Job { key: key(round, batch * BATCH + i), fingerprint: None, redeliveries: 0 };
    let enter = |i| match gate.enter(job(i)) {
        Entry::Leader(leader) => leader,
        Entry::Follower(_) => unreachable!("fresh keys lead"),
    };
    let mut leaders = (0..BATCH).map(enter).collect();
    let mut finished = Vec::with_capacity(BATCH);
    for admission in gate.claim(&mut leaders).await {
        match admission {
            Admission::Run(claimed) => finished.push(claimed.run(|_, _| async { Ok(()) }).await),
            other => anyhow::bail!("fresh keys run: {other:?}"),
        }
    }
    for settled in gate.settle(finished).await {
        anyhow::ensure!(settled.decision.verdict == idem_core::Verdict::Ack, "{settled:?}");
    }
    Ok(())
}

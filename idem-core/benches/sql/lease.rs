//! Claims and completions of fresh keys in batches.

use std::sync::Arc;

use idem_core::engine::{Admission, Engine, Gate};
use idem_core::{Job, MySqlStore, Settings, SqliteStore, Store, Token};
use sqlx::mysql::MySqlConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, SqlSafeStr as _, SqlStr};

use super::{
    CONNECTIONS, LEASE, RETENTION, ROUNDS, fresh_schema, hex_prefix, key, loops, micros, pgbench, report,
};

const BATCH: usize = 32;
const BATCHES: usize = 1_000;
const TASKS: usize = 16;
const BUDGET: f64 = 0.7;
const SCHEMA: &str = "idem_bench";
/// The store's own settings.
const OPTIONS: &str = "-c plan_cache_mode=force_generic_plan -c enable_seqscan=off -c enable_hashjoin=off -c enable_mergejoin=off";

pub(crate) async fn run(postgres_url: Option<&str>, mysql_url: Option<&str>) -> anyhow::Result<()> {
    println!(
        "{BATCHES} batches of {BATCH} fresh keys, claimed and completed; medians of {ROUNDS} rounds in turn"
    );
    println!("{:<14} {:>14} {:>14} {:>8}", "", "engine, keys/s", "bare, keys/s", "ratio");
    if let Some(url) = postgres_url {
        postgres(url).await?;
    }
    if let Some(url) = mysql_url {
        mysql(url).await?;
    }
    sqlite().await
}

async fn postgres(url: &str) -> anyhow::Result<()> {
    let (mut session, builder) = fresh_schema(url, SCHEMA).await?;
    let store = Arc::new(builder.connect().await?);
    let (mut engine_rates, mut bare) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        session.execute("TRUNCATE idem_bench.idem_records; CHECKPOINT").await?;
        engine_rates.push(engine(store.clone(), round).await?);
        session.execute("TRUNCATE idem_bench.idem_records; CHECKPOINT").await?;
        bare.push(bare_postgres(url)?);
    }
    report("PostgreSQL", engine_rates, bare, BUDGET);
    Ok(())
}

/// The keys per second that `pgbench` claims and completes.
fn bare_postgres(url: &str) -> anyhow::Result<f64> {
    let column = |value: &str| {
        format!("(SELECT array_agg({value} ORDER BY i) FROM generate_series(1, {BATCH}) AS s (i))")
    };
    // In hexadecimal digits, because pgbench takes a word behind a colon for a variable of its own, even in a string.
    let prefix = hex_prefix(12);
    let key = column(&format!(
        "decode('{prefix}', 'hex') || convert_to(lpad((:base::bigint + i)::text, 12, '0'), 'UTF8')"
    ));
    let token = column("decode(md5((:base::bigint + i)::text), 'hex')");
    let [lease, retention] = [LEASE, RETENTION].map(|time| column(&micros(time).to_string()));
    let none = column("NULL::bytea");
    let fill = |statement: &str, columns: &[&str]| pgbench::filled(statement, SCHEMA, columns);
    let claim = fill(pgbench::CLAIM, &[&key, &token, &lease, &retention, &none]);
    let complete = fill(
        include_str!("../../src/store/postgres/sql/complete.sql"),
        &[&key, &token, &retention, &lease, &none, &none],
    );
    let script = format!("\\set base {BATCH} * random(1, 1000000000)\n{claim};\n{complete};\n");
    #[expect(clippy::cast_precision_loss, reason = "a batch is small")]
    Ok(pgbench::rate(url, &script, BATCHES, OPTIONS)? * BATCH as f64)
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
    report("MariaDB", engine_rates, bare, BUDGET);
    Ok(())
}

async fn bare_mysql(url: &str, round: usize) -> anyhow::Result<f64> {
    let claim = rows(concat!(
        include_str!("../../src/store/mysql/sql/claim.sql"),
        include_str!("../../src/store/mysql/sql/claim_returning.sql")
    ));
    let complete = rows(concat!(
        include_str!("../../src/store/mysql/sql/complete.sql"),
        include_str!("../../src/store/mysql/sql/complete_returning.sql")
    ));
    let mut sessions = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut session = MySqlConnection::connect(url).await?;
        let settings = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED; USE idem_bench";
        session.execute(sqlx::raw_sql(settings)).await?;
        sessions.push(session);
    }
    let (lease, retention) = (micros(LEASE), micros(RETENTION));
    batches(sessions, move |mut session, batch| {
        let (claim, complete) = (claim.clone(), complete.clone());
        async move {
            let work = work(round, batch);
            let claims = work.iter().fold(sqlx::query(claim), |query, (key, token)| {
                query
                    .bind(key.clone())
                    .bind(token.clone())
                    .bind(None::<Vec<u8>>)
                    .bind(lease)
                    .bind(lease + retention)
            });
            anyhow::ensure!(claims.fetch_all(&mut session).await?.len() == BATCH);
            let completions = work.iter().fold(sqlx::query(complete), |query, (key, token)| {
                let query = query.bind(key.clone()).bind(token.clone()).bind(1_i64);
                query.bind(None::<Vec<u8>>).bind(None::<Vec<u8>>).bind(retention)
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
    report("SQLite", engine_rates, bare, BUDGET);
    Ok(())
}

async fn bare_sqlite(session: SqliteConnection, round: usize) -> anyhow::Result<f64> {
    let claim = rows(include_str!("../../src/store/sqlite/sql/claim.sql"));
    let complete = rows(include_str!("../../src/store/sqlite/sql/complete.sql"));
    let (lease, retention) = (micros(LEASE), micros(RETENTION));
    batches(vec![session], move |mut session, batch| {
        let (claim, complete) = (claim.clone(), complete.clone());
        async move {
            let work = work(round, batch);
            let claims = work.iter().fold(
                sqlx::query(claim).bind(1_800_000_000_000_000_i64),
                |query, (key, token)| {
                    query
                        .bind(key.clone())
                        .bind(token.clone())
                        .bind(lease)
                        .bind(retention)
                        .bind(None::<Vec<u8>>)
                },
            );
            anyhow::ensure!(claims.fetch_all(&mut session).await?.len() == BATCH);
            let completions = work.iter().fold(
                sqlx::query(complete).bind(1_800_000_000_000_000_i64),
                |query, (key, token)| {
                    let query = query.bind(key.clone()).bind(token.clone()).bind(retention).bind(1_i64);
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
/// The keys per second of workers that take batches until all are done.
async fn batches<W: Send + 'static, F>(
    workers: Vec<W>,
    work: impl Fn(W, usize) -> F + Send + Sync + 'static,
) -> anyhow::Result<f64>
where
    F: Future<Output = anyhow::Result<W>> + Send,
{
    #[expect(clippy::cast_precision_loss, reason = "a batch is small")]
    Ok(loops(workers, BATCHES, work).await? * BATCH as f64)
}

async fn engine(store: Arc<dyn Store>, round: usize) -> anyhow::Result<f64> {
    let engine = Engine::new(store);
    let mut settings = Settings::new();
    // No task is to wait for a permit: it is the store that is measured.
    settings.concurrency = Some(2 * TASKS * BATCH);
    let gate = engine.gate("bench", settings.resolve()?);
    batches(vec![gate; TASKS], move |gate, batch| async move {
        handle(&gate, round, batch).await?;
        Ok(gate)
    })
    .await
}

async fn handle(gate: &Gate, round: usize, batch: usize) -> anyhow::Result<()> {
    let job = |i| Job::new(key(round, batch * BATCH + i));
    let enter = |i| gate.enter(job(i)).into_leader().expect("fresh keys lead");
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

//! Handlers in one transaction with their record.

use std::collections::VecDeque;

use anyhow::Context as _;
use idem_core::engine::{Admission, Commit, Engine, Entry, Gate};
use idem_core::{HandlerError, Job, Settings, Verdict};
use sqlx::{Executor as _, PgConnection};

use super::{
    CONNECTIONS, LEASE, RETENTION, ROUNDS, fresh_schema, hex_prefix, key, loops, micros, pgbench, report,
};

const MESSAGES: usize = 8_000;
const ACCOUNTS: usize = 10_000;
const BUDGET: f64 = 0.85;
const SCHEMA: &str = "idem_bench_tx";
const DEBIT: &str = "UPDATE idem_bench_tx.accounts SET balance = balance - 1 WHERE id = $1";
const NOTE: &str = "INSERT INTO idem_bench_tx.entries (account, amount) VALUES ($1, 1)";

pub(crate) async fn run(url: &str) -> anyhow::Result<()> {
    let (mut session, builder) = fresh_schema(url, SCHEMA).await?;
    session
        .execute(
            "CREATE TABLE idem_bench_tx.accounts (id bigint PRIMARY KEY, balance bigint NOT NULL);
             CREATE TABLE idem_bench_tx.entries (id bigserial PRIMARY KEY, account bigint, amount bigint)",
        )
        .await?;
    sqlx::query("INSERT INTO idem_bench_tx.accounts SELECT i, 0 FROM generate_series(0, $1::bigint - 1) i")
        .bind(i64::try_from(ACCOUNTS)?)
        .execute(&mut session)
        .await?;
    let transactions = u32::try_from(CONNECTIONS)?;
    let engine = Engine::new(std::sync::Arc::new(builder.transactions(transactions).connect().await?));
    let mut settings = Settings::new();
    settings.concurrency = Some(CONNECTIONS);
    let gate = engine
        .transactional_gate("pay", settings.resolve()?, Commit::Each, None)
        .context("a store with transactions")?;
    println!("{MESSAGES} payments, an update and an insert each, in one transaction with their record");
    println!("{:<14} {:>14} {:>14} {:>8}", "", "engine, a second", "pgbench", "ratio");
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        session.execute("CHECKPOINT").await?;
        let pay = move |gate: Gate, number| async move { pay(gate, round, number).await };
        ours.push(loops(vec![gate.clone(); CONNECTIONS], MESSAGES, pay).await?);
        session.execute("CHECKPOINT").await?;
        bare.push(bare_rate(url)?);
    }
    report("PostgreSQL", ours, bare, BUDGET);
    Ok(())
}

async fn pay(gate: Gate, round: usize, number: usize) -> anyhow::Result<Gate> {
    let job = Job::new(key(round, number));
    let Entry::Leader(leader) = gate.enter(job) else { unreachable!("fresh keys lead") };
    let mut admission = gate.claim(&mut VecDeque::from([leader])).await.remove(0);
    let settled = loop {
        admission = match admission {
            Admission::Later(later) => later.await,
            Admission::Decided(settled) => break settled,
            Admission::Run(claimed) => {
                let open = claimed.transaction().context("an open transaction")?;
                let account = i64::try_from(number % ACCOUNTS)?;
                let run = claimed.run(|_, _| async move {
                    let mut lent = open.lend().ok_or("the transaction is lent")?;
                    let on: &mut PgConnection = lent.connection().downcast_mut().ok_or("another database")?;
                    sqlx::query(DEBIT).bind(account).execute(&mut *on).await?;
                    sqlx::query(NOTE).bind(account).execute(&mut *on).await?;
                    Ok::<(), HandlerError>(())
                });
                break gate.settle_one(run.await).await;
            }
        };
    };
    anyhow::ensure!(settled.decision.verdict == Verdict::Ack, "{settled:?}");
    Ok(gate)
}

/// The same transactions by `pgbench`.
fn bare_rate(url: &str) -> anyhow::Result<f64> {
    let key =
        format!("decode('{}', 'hex') || convert_to(lpad(:number::text, 12, '0'), 'UTF8')", hex_prefix(12));
    let token = "decode(md5(:number::text), 'hex')";
    let [lease, retention] = [LEASE, RETENTION].map(micros);
    let one = |value: &str| format!("ARRAY[{value}]");
    let claim = pgbench::filled(
        pgbench::CLAIM,
        SCHEMA,
        &[
            &one(&key),
            &one(token),
            &one(&lease.to_string()),
            &one(&retention.to_string()),
            &one("NULL::bytea"),
        ],
    );
    let finish = pgbench::filled(
        include_str!("../../src/store/postgres/sql/finish.sql"),
        SCHEMA,
        &[&one(&key), &one(token), &one("NULL::bytea"), &one(&retention.to_string())],
    );
    let [debit, note] = [DEBIT, NOTE].map(|statement| statement.replace("$1", ":account"));
    let script = format!(
        "\\set number random(100000000000, 999999999999)\n\\set account random(0, {ACCOUNTS} - 1)\n\
         BEGIN;\n{claim};\n{debit};\n{note};\n{finish};\nCOMMIT;\n"
    );
    pgbench::rate(url, &script, MESSAGES, "")
}

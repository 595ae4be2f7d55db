//! Known duplicates, with a cache in memory and without.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use idem_core::engine::{Admission, Engine, Entry, Gate};
use idem_core::{Job, MemoryStore, Outcome, RecordKey, Settings, Store, TieredStore};

use super::{ROUNDS, fresh_schema, key, loops, per_second, report};

const BATCH: usize = 32;
const BATCHES: usize = 500;
const TASKS: usize = 16;
/// How often the cache is asked for each key while the database is asked once.
const TURNS: usize = 20;
const BUDGET: f64 = 20.0;

pub(crate) async fn run(url: &str) -> anyhow::Result<()> {
    let (_session, builder) = fresh_schema(url, "idem_bench_tier").await?;
    let database = builder.connect().await?;
    let tiered = TieredStore::new(MemoryStore::new(), database.clone()).await?;
    let [database, tiered] = [Arc::new(database) as Arc<dyn Store>, Arc::new(tiered)].map(gate);
    let (database, tiered) = (database?, tiered?);
    println!("duplicates in batches of {BATCH}, answered by a cache in memory and by PostgreSQL");
    println!("{:<14} {:>14} {:>14} {:>8}", "", "cache, keys/s", "database", "ratio");
    let (mut cached, mut asked) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let keys: Arc<[RecordKey]> = (0..BATCHES * BATCH).map(|number| key(round, number)).collect();
        // Completed keys stay in the cache for a minute.
        rate(&tiered, &keys, 1, Outcome::Completed).await?;
        tokio::time::sleep(Duration::from_millis(200)).await;
        asked.push(rate(&database, &keys, 1, Outcome::Duplicate).await?);
        cached.push(rate(&tiered, &keys, TURNS, Outcome::Duplicate).await?);
    }
    report("duplicates", cached, asked, BUDGET);
    Ok(())
}

fn gate(store: Arc<dyn Store>) -> anyhow::Result<Gate> {
    let mut settings = Settings::new();
    settings.concurrency = Some(2 * TASKS * BATCH);
    Ok(Engine::new(store).gate("bench", settings.resolve()?))
}

/// The keys per second of so many turns, each of which must come out as it is said.
async fn rate(gate: &Gate, keys: &Arc<[RecordKey]>, turns: usize, wanted: Outcome) -> anyhow::Result<f64> {
    let begun = Instant::now();
    for _ in 0..turns {
        let keys = keys.clone();
        let work = move |gate: Gate, batch| {
            let keys = keys.clone();
            async move {
                handle(&gate, &keys[batch * BATCH..][..BATCH], wanted).await?;
                Ok(gate)
            }
        };
        loops(vec![gate.clone(); TASKS], BATCHES, work).await?;
    }
    Ok(per_second(turns * BATCHES * BATCH, begun.elapsed()))
}

async fn handle(gate: &Gate, keys: &[RecordKey], wanted: Outcome) -> anyhow::Result<()> {
    let job = |key: &RecordKey| Job::new(key.clone());
    let (mut leaders, mut decided) = (VecDeque::new(), Vec::with_capacity(keys.len()));
    for key in keys {
        match gate.enter(job(key)) {
            Entry::Leader(leader) => leaders.push_back(leader),
            Entry::Decided(settled) => decided.push(settled),
            Entry::Follower(_) => unreachable!("a batch is worked on by one task at a time"),
        }
    }
    let mut finished = Vec::new();
    while !leaders.is_empty() {
        for admission in gate.claim(&mut leaders).await {
            match admission {
                Admission::Run(claimed) => finished.push(claimed.run(|_, _| async { Ok(()) }).await),
                Admission::Decided(settled) => decided.push(settled),
                Admission::Later(_) => anyhow::bail!("nobody else has the key"),
            }
        }
    }
    decided.extend(gate.settle(finished).await);
    anyhow::ensure!(decided.len() == keys.len(), "{} of {} are decided", decided.len(), keys.len());
    for settled in decided {
        anyhow::ensure!(settled.decision.outcome == wanted, "{settled:?}");
    }
    Ok(())
}

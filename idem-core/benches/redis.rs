//! The engine's throughput over Redis, beside that of Redis itself.
//!
//! `cargo bench -p idem-core --features redis --bench redis`
//!
//! It starts a `redis-server` of its own on a free port, or takes the one that `IDEM_BENCH_REDIS_URL` names: all of
//! its data is deleted. On the same server, several times in turn, fresh keys are claimed and completed by
//!
//! - `redis-benchmark`, which calls idem's own two scripts with 32 keys a call and does nothing else;
//! - the engine over [`RedisStore`], from enter to settle, in batches of 32 from several tasks;
//! - what one writes by hand: `SET NX PX`, then a compare-and-set script, each pipelined 32 at a time, with values as
//!   long as idem's records.
//!
//! `redis-benchmark` cannot name the keys of an earlier call, so that it completes keys which are absent; the
//! script then stores the record anew.

use std::future::Future;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use idem_core::engine::{Admission, Engine, Gate};
use idem_core::{IdempotencyKey, Job, MessageId, Namespace, RecordKey, RedisStore, Settings, Token};
use redis::AsyncConnectionConfig;
use redis::aio::MultiplexedConnection;
use rustix::time::{ClockId, clock_gettime};

const BATCH: usize = 32;
const BATCHES: usize = 2_000;
const TASKS: usize = 8;
const ROUNDS: usize = 12;
/// The connections that `redis-benchmark` is tried with.
const CONNECTIONS: [usize; 2] = [1, 8];
/// The bytes of a completed record without a fingerprint and a reply, its message's id included.
const RECORD: usize = 64;
/// The bytes of the same record before it told its member and message, and how many more it may have.
const RECORD_BEFORE: usize = 55;
const MORE: usize = 40;
const LEASE_MILLIS: u64 = 30_000;
const RETENTION_MILLIS: u64 = 4 * 86_400_000;
/// The least share of what `redis-benchmark` reaches.
const BUDGET_OF_BARE: f64 = 0.6;
/// The least share of what is written by hand.
const BUDGET_OF_BY_HAND: f64 = 1.0;

const CLAIM: &str = concat!(
    include_str!("../src/store/redis/lua/common.lua"),
    include_str!("../src/store/redis/lua/claim.lua")
);
const COMPLETE: &str = concat!(
    include_str!("../src/store/redis/lua/common.lua"),
    include_str!("../src/store/redis/lua/complete.lua")
);
const COMPARE_AND_SET: &str = "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end \
     redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) return 1";

/// The contestants, in the order of the table.
const WHO: [&str; 4] = ["redis-benchmark -c 1", "redis-benchmark -c 8", "engine", "by hand"];

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let server = Server::named_or_started()?;
    let mut connection = server.connection().await?;
    println!("{BATCHES} batches of {BATCH} fresh keys, claimed and completed; {ROUNDS} rounds in turn");
    println!(
        "{:<22} {:>12} {:>30} {:>30}",
        "", "messages/s", "CPU µs/message in the client", "in the server"
    );
    let mut costs: [Vec<Cost>; 4] = Default::default();
    for round in 0..ROUNDS {
        for turn in 0..WHO.len() {
            // Each comes first in one round of four.
            let who = (turn + round) % WHO.len();
            redis::cmd("FLUSHALL").exec_async(&mut connection).await?;
            let before = Cpu::now(&mut connection).await?;
            let per_second = match who {
                0 | 1 => server.redis_benchmark(&mut connection, CONNECTIONS[who]).await?,
                2 => engine(&server, round).await?,
                _ => by_hand(&server, round).await?,
            };
            costs[who].push(Cost::of(per_second, &before, &Cpu::now(&mut connection).await?));
        }
    }
    let [one, eight, engine, by_hand] = std::array::from_fn(|who| {
        let median = Cost::median(&mut costs[who]);
        println!(
            "{:<22} {:>12.0} {:>30.2} {:>30.2}",
            WHO[who], median.per_second, median.client, median.server
        );
        median
    });
    println!("\nmedians; redis-benchmark's own CPU time is not counted");
    let bare = one.per_second.max(eight.per_second);
    verdict("engine / redis-benchmark", engine.per_second / bare, BUDGET_OF_BARE);
    verdict("engine / by hand", engine.per_second / by_hand.per_second, BUDGET_OF_BY_HAND);
    let trips = round_trips(&server, &mut connection).await?;
    let kept = if trips == 2 { "kept" } else { "MISSED" };
    println!("round trips for {BATCH} handlers that finish together: {trips} (budget: exactly 2, {kept})");
    bytes(&server, &mut connection).await
}

/// The size of a completed record, by the server's own word.
async fn bytes(server: &Server, connection: &mut MultiplexedConnection) -> anyhow::Result<()> {
    let gate = gate(server).await?;
    handle(&gate, ROUNDS + 2, 0).await?;
    let key = stored(&key(ROUNDS + 2, 0));
    let value: usize = redis::cmd("STRLEN").arg(&key).query_async(connection).await?;
    let all: usize = redis::cmd("MEMORY").arg("USAGE").arg(&key).query_async(connection).await?;
    let kept = if value <= RECORD_BEFORE + MORE { "kept" } else { "MISSED" };
    anyhow::ensure!(value == RECORD, "a record has {value} bytes, and this benchmark reckons with {RECORD}");
    println!(
        "a completed record: {value} bytes, {all} with its key of {} and all that Redis adds (budget: at most {} and {MORE}, {kept})",
        key.len(),
        RECORD_BEFORE
    );
    Ok(())
}

fn verdict(what: &str, ratio: f64, budget: f64) {
    let kept = if ratio >= budget { "kept" } else { "MISSED" };
    println!("{what} = {ratio:.2} (budget: at least {budget:.2}, {kept})");
}

/// The result of one run; CPU time is in µs for each message.
struct Cost {
    per_second: f64,
    client: f64,
    server: f64,
}

impl Cost {
    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
    fn of(per_second: f64, before: &Cpu, after: &Cpu) -> Self {
        let each = 1e6 / (BATCHES * BATCH) as f64;
        let (client, server) = (after.client - before.client, after.server - before.server);
        Self { per_second, client: client * each, server: server * each }
    }

    fn median(costs: &mut [Self]) -> Self {
        let mut middle = |of: fn(&Self) -> f64| {
            costs.sort_by(|a, b| of(a).total_cmp(&of(b)));
            of(&costs[costs.len() / 2])
        };
        let (per_second, client) = (middle(|cost| cost.per_second), middle(|cost| cost.client));
        Self { per_second, client, server: middle(|cost| cost.server) }
    }
}

/// The CPU time in seconds that this process and the server have used.
struct Cpu {
    client: f64,
    server: f64,
}

impl Cpu {
    async fn now(connection: &mut MultiplexedConnection) -> anyhow::Result<Self> {
        let info: String = redis::cmd("INFO").arg("cpu").query_async(connection).await?;
        let used = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.parse::<f64>().ok());
        let server = used("used_cpu_user:").zip(used("used_cpu_sys:")).map(|(user, sys)| user + sys);
        let client = clock_gettime(ClockId::ProcessCPUTime);
        #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 seconds")]
        let client = client.tv_sec as f64 + client.tv_nsec as f64 / 1e9;
        Ok(Self { client, server: server.unwrap_or_default() })
    }
}

/// The key of a message; its number always has twelve digits.
fn key(round: usize, number: usize) -> RecordKey {
    let namespace = Namespace::new(["", "bench", "topic", "orders", "PAID"]);
    let key = IdempotencyKey::new(format!("{round:02}{number:010}")).expect("a short key");
    RecordKey::new(namespace, key)
}

/// The key as [`RedisStore`] stores it.
fn stored(key: &RecordKey) -> Vec<u8> {
    [b"idem:", &key.to_bytes()[..]].concat()
}

/// Has [`TASKS`] tasks work on the batches of a round; the messages per second.
async fn rate<F>(work: impl Fn(usize) -> F + Send + Sync + 'static) -> anyhow::Result<f64>
where
    F: Future<Output = anyhow::Result<()>> + Send,
{
    let (work, next) = (Arc::new(work), Arc::new(AtomicUsize::new(0)));
    let begun = Instant::now();
    let task = || {
        let (work, next) = (work.clone(), next.clone());
        tokio::spawn(async move {
            loop {
                let batch = next.fetch_add(1, Ordering::Relaxed);
                if batch >= BATCHES {
                    return anyhow::Ok(());
                }
                work(batch).await?;
            }
        })
    };
    let tasks: Vec<_> = (0..TASKS).map(|_| task()).collect();
    for task in tasks {
        task.await??;
    }
    Ok(per_second(BATCHES * BATCH, begun.elapsed()))
}

#[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
fn per_second(count: usize, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64()
}

async fn engine(server: &Server, round: usize) -> anyhow::Result<f64> {
    let gate = gate(server).await?;
    rate(move |batch| {
        let gate = gate.clone();
        async move { handle(&gate, round, batch).await }
    })
    .await
}

async fn gate(server: &Server) -> anyhow::Result<Gate> {
    let engine = Engine::new(Arc::new(RedisStore::connect(&server.url).await?));
    let mut settings = Settings::new();
    // No task is to wait for a permit: it is the store that is measured.
    settings.concurrency = Some(2 * TASKS * BATCH);
    Ok(engine.gate("bench", settings.resolve()?))
}

async fn handle(gate: &Gate, round: usize, batch: usize) -> anyhow::Result<()> {
    let message = Some(MessageId::new("7F00000100002A139A558A43A7E90000"));
    let job = |i| Job { message, ..Job::new(key(round, batch * BATCH + i)) };
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

async fn by_hand(server: &Server, round: usize) -> anyhow::Result<f64> {
    let connection = server.connection().await?;
    let script = load(&mut connection.clone(), COMPARE_AND_SET).await?;
    rate(move |batch| by_hand_batch(connection.clone(), script.clone(), round, batch)).await
}

async fn by_hand_batch(
    mut connection: MultiplexedConnection,
    script: String,
    round: usize,
    batch: usize,
) -> anyhow::Result<()> {
    let value = || [&Token::random().to_bytes()[..], &[b'.'; RECORD - 16]].concat();
    let work = (0..BATCH).map(|i| (stored(&key(round, batch * BATCH + i)), value()));
    let work: Vec<_> = work.collect();
    let (mut claims, mut completions) = (redis::pipe(), redis::pipe());
    for (key, value) in &work {
        claims.cmd("SET").arg(key).arg(value).arg("NX").arg("PX").arg(LEASE_MILLIS);
        let completion = completions.cmd("EVALSHA").arg(&script).arg(1).arg(key);
        completion.arg(value).arg(&[b'c'; RECORD]).arg(RETENTION_MILLIS);
    }
    let claimed: Vec<Option<String>> = claims.query_async(&mut connection).await?;
    let completed: Vec<usize> = completions.query_async(&mut connection).await?;
    anyhow::ensure!(claimed.iter().flatten().count() == BATCH && completed.iter().sum::<usize>() == BATCH);
    Ok(())
}

/// The server's count of commands for one batch through the engine, once it knows the scripts.
async fn round_trips(server: &Server, connection: &mut MultiplexedConnection) -> anyhow::Result<u64> {
    let gate = gate(server).await?;
    handle(&gate, ROUNDS + 1, 0).await?;
    redis::cmd("CONFIG").arg("RESETSTAT").exec_async(connection).await?;
    handle(&gate, ROUNDS + 1, 1).await?;
    let stats: String = redis::cmd("INFO").arg("commandstats").query_async(connection).await?;
    // A script's own calls are counted too, and cost no trip.
    let calls = |line: &str| -> Option<u64> {
        let (_, calls) = line.strip_prefix("cmdstat_eval")?.split_once("calls=")?;
        calls.split(',').next()?.parse().ok()
    };
    Ok(stats.lines().filter_map(calls).sum())
}

async fn load(connection: &mut MultiplexedConnection, script: &str) -> anyhow::Result<String> {
    Ok(redis::cmd("SCRIPT").arg("LOAD").arg(script).query_async(connection).await?)
}

/// The server that all of them use; one of our own ends with this value.
struct Server {
    url: String,
    process: Option<Child>,
}

impl Server {
    fn named_or_started() -> anyhow::Result<Self> {
        if let Ok(url) = std::env::var("IDEM_BENCH_REDIS_URL") {
            return Ok(Self { url, process: None });
        }
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let mut command = Command::new("redis-server");
        command.args([
            "--port",
            &port.to_string(),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
        ]);
        let process = command.stdout(Stdio::null()).spawn()?;
        let server = Self { url: format!("redis://127.0.0.1:{port}/"), process: Some(process) };
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            anyhow::ensure!(begun.elapsed() < Duration::from_secs(10), "redis-server does not start");
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(server)
    }

    async fn connection(&self) -> anyhow::Result<MultiplexedConnection> {
        let config = AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_mins(1)));
        Ok(redis::Client::open(&*self.url)?.get_multiplexed_async_connection_with_config(&config).await?)
    }

    /// The messages per second that `redis-benchmark` claims, and then completes.
    async fn redis_benchmark(
        &self,
        connection: &mut MultiplexedConnection,
        connections: usize,
    ) -> anyhow::Result<f64> {
        let (lease, retention) = ((LEASE_MILLIS * 1_000).to_string(), RETENTION_MILLIS.to_string());
        // As long as a record without its numbers, and as a record.
        let (head, record) = ("h".repeat(RECORD - 20), "r".repeat(RECORD));
        let claim = load(connection, CLAIM).await?;
        let complete = load(connection, COMPLETE).await?;
        let claims = self.calls_per_second(connections, &claim, &[&lease, &retention], &head)?;
        let completions = self.calls_per_second(connections, &complete, &[&retention], &record)?;
        #[expect(clippy::cast_precision_loss, reason = "a batch is small")]
        Ok(BATCH as f64 / (1.0 / claims + 1.0 / completions))
    }

    fn calls_per_second(
        &self,
        connections: usize,
        script: &str,
        terms: &[&str],
        own: &str,
    ) -> anyhow::Result<f64> {
        // It puts twelve random digits at the place of this word, other ones at each.
        let key = String::from_utf8(stored(&key(0, 0)))?.replace(&"0".repeat(12), "__rand_int__");
        let mut command = Command::new("redis-benchmark");
        command.args(["-u", &self.url, "--csv", "-P", "1", "-r", "2147483647"]);
        command.args(["-c", &connections.to_string(), "-n", &BATCHES.to_string()]);
        command.args(["EVALSHA", script, &BATCH.to_string()]);
        command.args(std::iter::repeat_n(&key, BATCH));
        command.args(terms).args(std::iter::repeat_n(own, BATCH));
        let output = command.output()?;
        let text = String::from_utf8(output.stdout)?;
        // The test's name, which has every argument in it, then the rate, then six latencies.
        let rate = text.lines().last().and_then(|line| line.rsplit("\",\"").nth(6)?.parse().ok());
        rate.ok_or_else(|| {
            anyhow::anyhow!("redis-benchmark said {text}{}", String::from_utf8_lossy(&output.stderr))
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

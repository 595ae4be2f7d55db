//! One group in one, two and four processes, with few and many handlers, and with many messages in flight; on a single Redis and
//! on a Cluster.
//!
//! `scripts/services start DIR redis rocketmq`, `. DIR/env`, then
//! `cargo bench -p idem-rocketmq --features embedded --bench scale`; words behind `--` choose the rows that have them.
//!
//! The processes, the broker and Redis share the machine: where the cores are all busy, more processes take from each other.

#[path = "../measure/payload.rs"]
mod payload;

use std::hint::black_box;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, bail, ensure};
use idem_rocketmq::embedded::{Bench, Outgoing};
use idem_rocketmq::prelude::*;

use crate::payload::OrderPayload;

const MESSAGES: usize = 1_000_000;
const QUEUES: u32 = 16;
/// The messages have so many tags in turn.
const TAGS: usize = 1_000;
/// The time that a handler takes where many messages are to be in flight.
const WORK: Duration = Duration::from_secs(1);
/// Nothing takes longer, also on a busy machine.
const LONGEST: Duration = Duration::from_mins(5);

struct Row {
    name: &'static str,
    processes: usize,
    on_cluster: bool,
    handlers: usize,
    /// The messages that each process works on at once.
    at_once: usize,
    takes: Duration,
    messages: usize,
}

const ONE: Row = Row {
    name: "1 process",
    processes: 1,
    on_cluster: false,
    handlers: 1,
    at_once: 1_024,
    takes: Duration::ZERO,
    messages: MESSAGES,
};

const ROWS: [Row; 10] = [
    ONE,
    Row { name: "2 processes", processes: 2, ..ONE },
    Row { name: "4 processes", processes: 4, ..ONE },
    Row { name: "1 process, Cluster", on_cluster: true, ..ONE },
    Row { name: "2 processes, Cluster", processes: 2, on_cluster: true, ..ONE },
    Row { name: "4 processes, Cluster", processes: 4, on_cluster: true, ..ONE },
    Row { name: "10 handlers", handlers: 10, ..ONE },
    Row { name: "1,000 handlers", handlers: 1_000, ..ONE },
    Row { name: "1,000 in flight, 1 s each", at_once: 1_000, takes: WORK, messages: 10_000, ..ONE },
    Row { name: "10,000 in flight, 1 s each", at_once: 10_000, takes: WORK, messages: 100_000, ..ONE },
];

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let [word, rest @ ..] = &arguments[..]
        && word == "consume"
    {
        return consume(rest).await;
    }
    let servers = Servers {
        name_server: variable("IDEM_TEST_ROCKETMQ")?,
        single: variable("IDEM_TEST_REDIS_URL")?,
        cluster: variable("IDEM_TEST_REDIS_CLUSTER")?,
    };
    let run = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_millis();
    let topic = format!("bench-scale-{run}");
    send(&servers.name_server, &topic).await?;
    println!("| | messages/s | CPU µs/message | Redis' CPU µs/message | resident a process |");
    println!("|---|---|---|---|---|");
    for (place, row) in ROWS.iter().enumerate() {
        if arguments.is_empty() || arguments.iter().any(|word| row.name.contains(word.as_str())) {
            measure(row, &servers, &topic, &format!("bench-scale-{run}-{place}"))?;
        }
    }
    Ok(())
}

struct Servers {
    name_server: String,
    single: String,
    cluster: String,
}

impl Servers {
    fn redis(&self, row: &Row) -> &str {
        if row.on_cluster { &self.cluster } else { &self.single }
    }
}

fn variable(name: &str) -> anyhow::Result<String> {
    std::env::var(name).with_context(|| {
        format!("{name} is not set: `scripts/services start DIR redis rocketmq` and `. DIR/env` first")
    })
}

async fn send(name_server: &str, topic: &str) -> anyhow::Result<()> {
    let bench = Bench::connect(name_server).await?;
    bench.create_topic(topic, QUEUES).await?;
    for first in (0..MESSAGES).step_by(100) {
        let message =
            |number| Outgoing::new(topic, OrderPayload::json(number, number % TAGS)).tag(tag(number));
        bench.producer().send_all((first..first + 100).map(message).collect::<Vec<_>>()).await?;
    }
    Ok(())
}

fn tag(number: usize) -> String {
    format!("t{}", number % TAGS)
}

/// The processes of a group, and how many messages they have handled.
struct Group {
    processes: Vec<Child>,
    handled: Arc<AtomicUsize>,
}

impl Group {
    fn start(row: &Row, servers: &Servers, topic: &str, group: &str) -> anyhow::Result<Self> {
        let handled = Arc::new(AtomicUsize::new(0));
        let mut processes = Vec::new();
        for _ in 0..row.processes {
            let mut command = Command::new(std::env::current_exe()?);
            command.args(["consume", row.name, &servers.name_server, servers.redis(row), topic, group]);
            let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
            let lines = BufReader::new(child.stdout.take().context("it has an output")?).lines();
            let handled = handled.clone();
            thread::spawn(move || {
                for more in lines.map_while(Result::ok).filter_map(|line| line.parse::<usize>().ok()) {
                    handled.fetch_add(more, Ordering::Relaxed);
                }
            });
            processes.push(child);
        }
        Ok(Self { processes, handled })
    }

    fn wait_for(&mut self, messages: usize) -> anyhow::Result<()> {
        let begun = Instant::now();
        while self.handled.load(Ordering::Relaxed) < messages {
            ensure!(begun.elapsed() < LONGEST, "it takes too long");
            for process in &mut self.processes {
                ensure!(process.try_wait()?.is_none(), "a process has ended");
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    fn cpu(&self) -> anyhow::Result<Duration> {
        self.processes.iter().map(|process| cpu_of(process.id())).sum()
    }

    fn resident_mib(&self) -> f64 {
        let most = self.processes.iter().map(|process| resident_kib(process.id())).fold(0.0, f64::max);
        most / 1024.0
    }
}

/// The processes end with their input.
impl Drop for Group {
    fn drop(&mut self) {
        for process in &mut self.processes {
            drop(process.stdin.take());
        }
        for process in &mut self.processes {
            let _ = process.wait();
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
fn measure(row: &Row, servers: &Servers, topic: &str, name: &str) -> anyhow::Result<()> {
    let mut group = Group::start(row, servers, topic, name)?;
    group.wait_for(row.messages / 10)?;
    let before = group.handled.load(Ordering::Relaxed);
    let (begun, cpu, redis) = (Instant::now(), group.cpu()?, redis_cpu(servers.redis(row))?);
    group.wait_for(row.messages)?;
    let messages = (group.handled.load(Ordering::Relaxed) - before) as f64;
    let (took, cpu) = (begun.elapsed(), group.cpu()?.saturating_sub(cpu));
    let redis = redis_cpu(servers.redis(row))?.saturating_sub(redis);
    let micros = |time: Duration| time.as_secs_f64() * 1e6 / messages;
    println!(
        "| {} | {:.0} | {:.1} | {:.1} | {:.0} MiB |",
        row.name,
        messages / took.as_secs_f64(),
        micros(cpu),
        micros(redis),
        group.resident_mib(),
    );
    Ok(())
}

fn cpu_of(process: u32) -> anyhow::Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    let fields = stat.rsplit_once(')').context("the process has no name")?.1;
    let ticks: u64 =
        fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    // Linux counts in hundredths of a second, whatever the kernel's own clock is.
    Ok(Duration::from_millis(ticks * 10))
}

fn resident_kib(process: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(f64::NAN)
}

/// The CPU time of the Redis servers so far.
fn redis_cpu(urls: &str) -> anyhow::Result<Duration> {
    urls.split(',').map(payload::redis_cpu).sum()
}

/// Consumes until its input ends, and says again and again how many messages it has handled since it said so last.
async fn consume(arguments: &[String]) -> anyhow::Result<()> {
    let [name, name_server, redis, topic, group] = arguments else { bail!("not what the parent says") };
    let row = ROWS.iter().find(|row| row.name == name).context("an unknown row")?;
    let urls: Vec<&str> = redis.split(',').collect();
    let store = match &urls[..] {
        [url] => RedisStore::connect(*url).await?,
        urls => RedisStore::cluster(urls.iter().copied()).connect().await?,
    };
    let handled = Arc::new(AtomicUsize::new(0));
    let routes = (0..row.handlers).map(|place| {
        let key = |order: &OrderPayload| IdempotencyKey::new(&order.order_id);
        let route = handler(topic, handle).key(key).named(format!("handler-{place}"));
        let tags = (place..TAGS).step_by(row.handlers).map(tag);
        if row.handlers == 1 { route } else { route.tags(tags) }
    });
    let consumer = Consumer::builder(group)
        .name_server(name_server)
        .state(handled.clone())
        .state(row.takes)
        .concurrency(row.at_once)
        .store(store)
        .handlers(routes)
        .start()
        .await?;
    let (ended, input_ended) = tokio::sync::oneshot::channel();
    thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        let _ = ended.send(());
    });
    let mut saying = tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_millis(10)).await;
            let _ = writeln!(std::io::stdout(), "{}", handled.swap(0, Ordering::Relaxed));
        }
    });
    tokio::select! {
        _ = input_ended => {}
        _ = &mut saying => {}
    }
    saying.abort();
    consumer.shutdown().await;
    Ok(())
}

async fn handle(order: OrderPayload, State(handled): State<Arc<AtomicUsize>>, State(takes): State<Duration>) {
    black_box((order.amount_cents, order.buyer_id));
    if !takes.is_zero() {
        tokio::time::sleep(takes).await;
    }
    handled.fetch_add(1, Ordering::Relaxed);
}

//! A consumer in a process of its own, for tests that kill it.
//!
//! `idem-worker NAME_SERVER TOPIC REDIS_URL GROUP INSTANCE LEDGER THREADS [orderly]`, or with `transfers`, `orders` or `soak` and
//! other arguments as the modules of these names.
//!
//! Each run writes `KEY PID ATTEMPT WHAT` to the ledger, a file that all workers append to: `begin`, then `done` or
//! `failed`. A line is one write, so that it is there or not, also when the process is killed. A message says how
//! it is handled. Idem logs to the standard error; `RUST_LOG` asks for more.

mod deadly;
mod orders;
mod soak;
mod transfers;

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::exit;
use std::sync::Arc;
use std::time::Duration;

use idem_rocketmq::Backoff;
use idem_rocketmq::prelude::*;

#[derive(Deserialize)]
struct Order {
    id: String,
    /// How long a run works.
    millis: u64,
    /// How many attempts fail.
    fails: u32,
    /// Whether the run blocks its thread until the file `go` is beside the ledger.
    blocks: bool,
}

/// One line a step; clones share the file.
#[derive(Clone)]
struct Ledger {
    file: Arc<File>,
    go: Arc<Path>,
}

impl Ledger {
    fn open(path: &Path) -> std::io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        Ok(Self { file: Arc::new(file), go: path.with_file_name("go").into() })
    }

    fn write(&self, key: &str, attempt: Attempt, what: &str) -> std::io::Result<()> {
        let line = format!("{key} {} {} {what}\n", std::process::id(), attempt.number());
        (&*self.file).write_all(line.as_bytes())
    }
}

/// Orderly, the part of the key before a hyphen says whose order is kept.
fn route(topic: String, is_orderly: bool) -> Route {
    let mut handler = handler(topic, work);
    if is_orderly {
        handler = handler.order_by(|order| order.id.split('-').next().map(str::to_owned));
    }
    handler
        .key(|order| order.id.clone())
        .named("work")
        .scope("orders")
        .lease(Duration::from_secs(3))
        .timeout(Duration::from_mins(2))
        .backoff(Backoff::fixed(Duration::from_secs(1)))
        .concurrency(8)
}

async fn work(order: Order, State(ledger): State<Ledger>, attempt: Attempt) -> HandlerResult {
    ledger.write(&order.id, attempt, "begin")?;
    // From here on it is a thread of the runtime that is blocked, and not the one that received the message.
    tokio::task::yield_now().await;
    while order.blocks && !ledger.go.exists() {
        std::thread::sleep(Duration::from_millis(20));
    }
    // One that has blocked is done at once, so that nobody can cancel it before.
    if !order.blocks {
        tokio::time::sleep(Duration::from_millis(order.millis)).await;
    }
    if attempt.number() <= order.fails {
        ledger.write(&order.id, attempt, "failed")?;
        return Err("this attempt is to fail".into());
    }
    ledger.write(&order.id, attempt, "done")?;
    Ok(())
}

struct Arguments {
    name_server: String,
    topic: String,
    redis: String,
    group: String,
    instance: String,
    ledger: PathBuf,
    threads: usize,
    is_orderly: bool,
}

impl Arguments {
    fn take() -> Option<Self> {
        let mut rest = std::env::args().skip(1);
        Some(Self {
            name_server: rest.next()?,
            topic: rest.next()?,
            redis: rest.next()?,
            group: rest.next()?,
            instance: rest.next()?,
            ledger: rest.next()?.into(),
            threads: rest.next()?.parse().ok()?,
            is_orderly: rest.next().is_some_and(|word| word == "orderly"),
        })
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    match std::env::args().nth(1).as_deref() {
        Some("orders") => return orders::main(),
        Some("soak") => return soak::main(),
        Some("transfers") => return transfers::main(),
        _ => {}
    }
    let Some(arguments) = Arguments::take() else {
        eprintln!("idem-worker NAME_SERVER TOPIC REDIS_URL GROUP INSTANCE LEDGER THREADS [orderly]");
        exit(2);
    };
    log();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(arguments.threads).enable_all().build()?;
    runtime.block_on(consume(arguments))
}

fn log() {
    let wanted = std::env::var("RUST_LOG").unwrap_or_else(|_| "idem_rocketmq=info,idem_core=info".to_owned());
    let log = tracing_subscriber::fmt().with_env_filter(wanted).with_ansi(false);
    log.with_writer(std::io::stderr).init();
}

async fn consume(arguments: Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let consumer = Consumer::builder(arguments.group)
        .name_server(arguments.name_server)
        .instance_name(arguments.instance)
        .store(RedisStore::connect(arguments.redis).await?)
        .state(Ledger::open(&arguments.ledger)?)
        .handlers([route(arguments.topic, arguments.is_orderly)]);
    consumer.run().await?;
    Ok(())
}

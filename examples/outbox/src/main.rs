//! A shop stores orders in its database and announces them over RocketMQ. Some payments fail, some panic, and the shop's
//! process is killed again and again. In the end each stored order was announced, and no other.
//!
//! `cargo run -p outbox`, or with `DATABASE_URL=postgres://..` or `mysql://..`, and `NAMESRV_ADDR=host:port`, on real servers.

mod database;
mod report;
mod shop;

use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use idem_rocketmq::embedded::EmbeddedBroker;
use idem_rocketmq::prelude::*;

use crate::database::Ledger;
use crate::report::Report;
use crate::shop::{OrderPaid, Setting};

type Failure = Box<dyn std::error::Error>;

const KILLS: usize = 4;

/// The example must not hang where something is wrong.
const LONGEST: Duration = Duration::from_mins(2);

/// The campaign's sums.
#[derive(Clone, Default)]
struct Gmv {
    cents: Arc<AtomicI64>,
    orders: Arc<AtomicUsize>,
}

/// Adds each order to the GMV, once: an announcement may come twice.
async fn add_gmv(order: OrderPaid, State(gmv): State<Gmv>) {
    gmv.orders.fetch_add(1, Ordering::Relaxed);
    gmv.cents.fetch_add(order.cents, Ordering::Relaxed);
}

#[tokio::main]
async fn main() -> Result<ExitCode, Failure> {
    // The shop is this program, too, in a process that can be killed.
    if let Some(setting) = Setting::of_environment() {
        shop::sell(&setting).await?;
        return Ok(ExitCode::SUCCESS);
    }
    let run = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_millis();
    let topic = format!("outbox-orders-{run}");
    let broker = broker(&topic).await?;
    let name_server = broker.as_ref().map_or_else(
        || std::env::var("NAMESRV_ADDR").unwrap_or_default(),
        |broker| broker.name_server().to_owned(),
    );
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("shop.db").display().to_string();
    let database = std::env::var("DATABASE_URL").unwrap_or(file);
    let setting = Setting { name_server, database, topic, run: run.to_string() };
    let ledger = Ledger::open(&setting).await?;

    println!("Selling {} orders; the shop's process is killed {KILLS} times meanwhile ..", shop::ORDERS);
    for kill in 1..=KILLS {
        let stored = kill_after(&setting, &ledger, shop::ORDERS * kill / (KILLS + 1)).await?;
        println!("  killed when {stored} orders were stored");
    }
    // The last one is let finish, and answers what the broker asks about those that were killed.
    let mut last = setting.command()?.spawn()?;

    let gmv = Gmv::default();
    let count = handler(&setting.topic, add_gmv).key(|order| order.order_id.clone()).named("add_gmv");
    let consumer = Consumer::builder(format!("campaign-{run}"))
        .name_server(&setting.name_server)
        .store(MemoryStore::new())
        .state(gmv.clone())
        .handlers([count])
        .start()
        .await?;
    let begun = Instant::now();
    let report = loop {
        let (orders, cents) = ledger.totals().await?;
        let report = Report {
            over: last.try_wait()?.is_some() && ledger.unconfirmed().await? == 0,
            stored: orders,
            stored_cents: cents,
            counted: gmv.orders.load(Ordering::Relaxed),
            counted_cents: gmv.cents.load(Ordering::Relaxed),
        };
        if report.is_right() || begun.elapsed() > LONGEST {
            break report;
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    };
    let _ = last.kill();
    let messages = match &broker {
        Some(broker) => Some(broker.read_all(&setting.topic).await?.len()),
        None => None,
    };
    consumer.shutdown().await;
    if let Some(broker) = broker {
        broker.shutdown().await;
    }
    println!("{report}");
    if let Some(messages) = messages {
        println!("  messages at the broker       {messages:>12}   some come twice");
    }
    Ok(if report.is_right() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A broker in this process, unless the environment names one.
async fn broker(topic: &str) -> Result<Option<EmbeddedBroker>, Failure> {
    if std::env::var("NAMESRV_ADDR").is_ok() {
        return Ok(None);
    }
    println!("Starting a RocketMQ name server and broker in this process ..");
    let broker = EmbeddedBroker::builder().topic(topic, 4).transaction_check_interval(Duration::from_secs(1));
    Ok(Some(broker.start().await?))
}

/// Runs a shop until so many orders are stored.
async fn kill_after(setting: &Setting, ledger: &Ledger, orders: usize) -> Result<usize, Failure> {
    let mut shop = setting.command()?.spawn()?;
    let begun = Instant::now();
    let stored = loop {
        let (stored, _) = ledger.totals().await?;
        if stored >= orders || shop.try_wait()?.is_some() || begun.elapsed() > LONGEST {
            break stored;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    let _ = shop.kill();
    shop.wait()?;
    Ok(stored)
}

impl Setting {
    /// This program, as a shop.
    fn command(&self) -> Result<Command, Failure> {
        let mut command = Command::new(std::env::current_exe()?);
        command.envs(self.environment());
        Ok(command)
    }
}

//! A broker in this process gets orders, of which many are sent twice and some three times. A plain listener and an
//! idempotent one count the same GMV, side by side.
//!
//! `cargo run -p quickstart`

mod orders;
mod progress;
mod report;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use idem_rocketmq::embedded::EmbeddedBroker;
use idem_rocketmq::prelude::*;

use crate::orders::{Orders, amount_of};
use crate::progress::Progress;
use crate::report::Report;

/// The payment of an order.
#[derive(Deserialize)]
struct OrderPaid {
    order_id: String,
    amount_cents: i64,
}

/// The money that a listener has counted, and how often it ran.
#[derive(Clone, Default)]
struct Gmv {
    cents: Arc<AtomicI64>,
    runs: Arc<AtomicUsize>,
}

impl Gmv {
    fn add(&self, cents: i64) {
        self.cents.fetch_add(cents, Ordering::Relaxed);
    }
}

/// Adds each paid order to the GMV, once. A duplicate never gets here.
#[idempotent(key = "order_id", topic = "orders", tag = "PAID")]
async fn add_gmv(order: OrderPaid, State(gmv): State<Gmv>) {
    gmv.runs.fetch_add(1, Ordering::Relaxed);
    gmv.add(order.amount_cents);
}

/// The same for orders paid by card, where each first attempt fails: the message is retried, and still counts once.
#[idempotent(key = "order_id", topic = "orders", tag = "CARD", backoff = "1s")]
async fn add_card_gmv(order: OrderPaid, State(gmv): State<Gmv>, attempt: Attempt) -> HandlerResult {
    gmv.runs.fetch_add(1, Ordering::Relaxed);
    if attempt.number() == 1 {
        return Err("the payment service does not answer".into());
    }
    gmv.add(order.amount_cents);
    Ok(())
}

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    println!("Starting a RocketMQ name server and broker in this process ..");
    let broker = EmbeddedBroker::builder().topic("orders", 4).start().await?;

    let orders = Orders::make(1_000);
    println!(
        "Sending {} orders in {} messages: many twice, some three times ..",
        orders.count,
        orders.messages.len()
    );
    let sent = orders.messages.len();
    broker.producer().send_all(orders.messages).await?;

    println!("Counting their GMV in two consumer groups: `plain` without idem, `campaign` with it ..");
    let progress = Progress::install()?;
    let (plain, idem) = (Gmv::default(), Gmv::default());
    let listener = broker.listen("plain", "orders", count_all(plain.clone())).await?;
    let consumer = Consumer::builder("campaign")
        .name_server(broker.name_server())
        .store(MemoryStore::new())
        .state(idem.clone())
        .handlers(handlers![add_gmv, add_card_gmv])
        .start()
        .await?;
    progress.wait_for(orders.count, sent, || plain.runs.load(Ordering::Relaxed)).await?;
    consumer.shutdown().await;
    listener.shutdown().await;

    let report = Report {
        orders: orders.count,
        sent,
        deliveries: progress.deliveries(),
        runs: idem.runs.load(Ordering::Relaxed),
        duplicates: progress.duplicates(),
        retries: progress.retries(),
        dead_letters: broker.read_all("%DLQ%campaign").await?.len(),
        expected: orders.gmv_cents,
        plain: plain.cents.load(Ordering::Relaxed),
        idem: idem.cents.load(Ordering::Relaxed),
    };
    broker.shutdown().await;
    println!("{report}");
    Ok(if report.is_right() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The usual first version: a listener that counts every delivery.
fn count_all(gmv: Gmv) -> impl Fn(&Delivery) + Send + Sync + 'static {
    move |delivery| {
        gmv.runs.fetch_add(1, Ordering::Relaxed);
        gmv.add(amount_of(delivery.body()));
    }
}

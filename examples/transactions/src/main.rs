//! A shop stores orders and announces each with a transactional message: consumers hear of an order only if it was stored.
//! Some payments fail, and after some the shop does not learn that they were stored. The broker asks for those.
//!
//! `cargo run -p transactions`

mod ledger;
mod report;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use idem_rocketmq::SendError;
use idem_rocketmq::embedded::EmbeddedBroker;
use idem_rocketmq::prelude::*;
use idem_rocketmq::producer::{TransactionError, TransactionState};

use crate::ledger::Ledger;
use crate::report::Report;

const ORDERS: usize = 200;

/// How often the broker asks for transactions of which it was told nothing.
const ASKING: Duration = Duration::from_secs(1);

/// The example must not hang where something is wrong.
const LONGEST: Duration = Duration::from_mins(1);

/// The payment of an order.
#[derive(Serialize, Deserialize, Message)]
#[message(topic = "orders", key = "order_id")]
struct OrderPaid {
    order_id: String,
    amount_cents: i64,
}

/// The money that the consumer has counted, and how often it ran.
#[derive(Clone, Default)]
struct Gmv {
    cents: Arc<AtomicI64>,
    runs: Arc<AtomicUsize>,
}

/// Adds each order to the GMV, once: a broker may commit a message twice by itself.
#[idempotent(key = "order_id", topic = "orders")]
async fn add_gmv(order: OrderPaid, State(gmv): State<Gmv>) {
    gmv.runs.fetch_add(1, Ordering::Relaxed);
    gmv.cents.fetch_add(order.amount_cents, Ordering::Relaxed);
}

/// How an order's payment ends.
#[derive(Clone, Copy)]
enum Fate {
    Good,
    /// It fails before anything is stored.
    Fails,
    /// It is stored, and then the shop's connection to its database breaks: the shop sees an error.
    LooksFailed,
}

impl Fate {
    fn of(number: usize) -> Self {
        match number % 10 {
            3 => Self::Fails,
            7 => Self::LooksFailed,
            _ => Self::Good,
        }
    }
}

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    println!("Starting a RocketMQ name server and broker in this process ..");
    let broker =
        EmbeddedBroker::builder().topic("orders", 4).transaction_check_interval(ASKING).start().await?;
    let gmv = Gmv::default();
    let consumer = Consumer::builder("campaign")
        .name_server(broker.name_server())
        .store(MemoryStore::new())
        .state(gmv.clone())
        .handlers(handlers![add_gmv])
        .start()
        .await?;

    let (ledger, asked) = (Ledger::default(), Arc::new(AtomicUsize::new(0)));
    let (of_shop, count) = (ledger.clone(), asked.clone());
    let producer = Producer::builder("shop")
        .name_server(broker.name_server())
        .check_back("orders", move |message: Delivery| {
            count.fetch_add(1, Ordering::Relaxed);
            // The producer puts the idempotency key, here the order's id, into the message's Keys.
            let state = message.keys().map_or(TransactionState::Unknown, |id| of_shop.settle(id));
            async move { Ok(state) }
        })
        .start()
        .await?;

    println!("Paying {ORDERS} orders: each tenth fails, and another tenth only looks as if it had failed ..");
    let mut told = 0;
    for number in 0..ORDERS {
        told += usize::from(pay(&producer, &ledger, number).await?);
    }

    println!("{told} were told to the broker at once; it asks the shop for the other {} ..", ORDERS - told);
    let report = |messages| Report {
        tried: ORDERS,
        told,
        asked: asked.load(Ordering::Relaxed),
        ledger: ledger.totals(),
        messages,
        runs: gmv.runs.load(Ordering::Relaxed),
        counted: gmv.cents.load(Ordering::Relaxed),
    };
    let begun = Instant::now();
    let mut shown = None;
    loop {
        let now = report(0);
        if shown.replace((now.asked, now.runs)) != Some((now.asked, now.runs)) {
            let seconds = begun.elapsed().as_secs_f32();
            println!(
                "  {seconds:4.1} s: {} check-backs are answered, {} orders are counted",
                now.asked, now.runs
            );
        }
        if now.is_right() || begun.elapsed() > LONGEST {
            break;
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    producer.shutdown().await;
    consumer.shutdown().await;
    let report = report(broker.read_all("orders").await?.len());
    broker.shutdown().await;
    println!("{report}");
    Ok(if report.is_right() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Pays for an order and announces it. Whether the broker was told by this call.
async fn pay(producer: &Producer, ledger: &Ledger, number: usize) -> Result<bool, SendError> {
    let order = OrderPaid {
        order_id: format!("order-{number}"),
        amount_cents: i64::try_from(number * 7 % 500).unwrap_or_default() + 100,
    };
    let local_work = || async {
        match Fate::of(number) {
            Fate::Good => ledger.pay(&order.order_id, order.amount_cents),
            Fate::Fails => Err("the card is declined".to_owned()),
            Fate::LooksFailed => {
                ledger.pay(&order.order_id, order.amount_cents)?;
                Err("the connection to the database broke after its commit".to_owned())
            }
        }
    };
    match producer.transaction(&order, local_work).await {
        Ok(()) => Ok(true),
        Err(TransactionError::NotPrepared(error)) => Err(error),
        // Whatever the shop believes: the check-back finds out and answers.
        Err(_) => Ok(false),
    }
}

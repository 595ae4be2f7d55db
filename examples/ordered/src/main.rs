//! The life of orders, from created to delivered, as messages: some sent twice, and some failing at first. A concurrent
//! handler takes steps out of their order; one with `order_by` takes each buyer's in their order, and different buyers'
//! side by side.
//!
//! `cargo run -p ordered`, or `NAMESRV_ADDR=127.0.0.1:9876 cargo run -p ordered` with a broker of your own.

mod shop;

use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

use idem_rocketmq::RunningConsumer;
use idem_rocketmq::consumer::ConsumeFrom;
use idem_rocketmq::embedded::EmbeddedBroker;
use idem_rocketmq::prelude::*;

use crate::shop::Shop;

const BUYERS: u64 = 40;
const ORDERS_OF_EACH: u64 = 3;
const STEPS: [&str; 4] = ["created", "paid", "shipped", "delivered"];
const MESSAGES: u64 = BUYERS * ORDERS_OF_EACH * STEPS.len() as u64;
/// How long one step takes, such as a call of a warehouse.
const WORK: Duration = Duration::from_millis(10);
/// The example must not hang where something is wrong.
const LONGEST: Duration = Duration::from_mins(1);

/// One step of an order. All steps of a buyer go to one queue, in the order in which they are sent.
#[derive(Serialize, Deserialize, Message)]
#[message(topic = "order-steps", key = ("order_id", "step"), order_by = "buyer_id")]
struct OrderStep {
    buyer_id: u64,
    order_id: String,
    step: usize,
}

/// A buyer's next step begins only when the one before is done, also where that one fails first and is tried again.
#[idempotent(
    key = ("order_id", "step"), topic = "order-steps", order_by = "buyer_id", backoff = "200ms", scope = "ordered"
)]
async fn in_order(step: OrderStep, State(shop): State<Shop>, attempt: Attempt) -> HandlerResult {
    take(step, shop, attempt).await
}

/// The same without order: a step that fails is overtaken by the next ones.
#[idempotent(key = ("order_id", "step"), topic = "order-steps", backoff = "1s", scope = "unordered")]
async fn in_any_order(step: OrderStep, State(shop): State<Shop>, attempt: Attempt) -> HandlerResult {
    take(step, shop, attempt).await
}

async fn take(step: OrderStep, shop: Shop, attempt: Attempt) -> HandlerResult {
    shop.ran();
    tokio::time::sleep(WORK).await;
    if step.buyer_id % 10 == 3 && step.step == 1 && attempt.number() == 1 {
        return Err("the bank does not answer".into());
    }
    shop.take(step.order_id, step.step);
    Ok(())
}

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let own = std::env::var("NAMESRV_ADDR").ok();
    let broker = if own.is_none() {
        println!("Starting a RocketMQ name server and broker in this process ..");
        Some(EmbeddedBroker::builder().topic("order-steps", 4).start().await?)
    } else {
        None
    };
    let name_server = own.or_else(|| Some(broker.as_ref()?.name_server().to_owned())).unwrap_or_default();
    let run = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_millis();
    println!("Starting two consumer groups, one of which keeps the order of each buyer ..");
    let (ordered, unordered) = (Shop::default(), Shop::default());
    let group = |name: &str| format!("{name}-{run}");
    let first = start(&name_server, group("ordered"), &ordered, handlers![in_order]).await?;
    let second = start(&name_server, group("unordered"), &unordered, handlers![in_any_order]).await?;

    println!(
        "Sending the {} steps of {} orders of {BUYERS} buyers, every fifth twice ..",
        MESSAGES,
        BUYERS * ORDERS_OF_EACH
    );
    send(&name_server, run).await?;
    let begun = Instant::now();
    while ordered.steps() < MESSAGES || unordered.steps() < MESSAGES {
        println!(
            "  {:4.1} s: {} steps taken in order, {} in any order",
            begun.elapsed().as_secs_f32(),
            ordered.steps(),
            unordered.steps()
        );
        if begun.elapsed() > LONGEST {
            return Err(format!("not done after {LONGEST:?}").into());
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    first.shutdown().await;
    second.shutdown().await;
    if let Some(broker) = broker {
        broker.shutdown().await;
    }
    let verdict = |wrong| if wrong == 0 { "right" } else { "wrong" };
    println!();
    println!("  orders                            {:>8}", BUYERS * ORDERS_OF_EACH);
    println!("  messages sent                     {:>8}", MESSAGES + MESSAGES / 5);
    println!("  runs, with retries                {:>8}", ordered.runs());
    println!();
    println!("  steps out of order, concurrent    {:>8}   {}", unordered.wrong(), verdict(unordered.wrong()));
    println!("  steps out of order, with order_by {:>8}   {}", ordered.wrong(), verdict(ordered.wrong()));
    let is_right = ordered.wrong() == 0 && ordered.steps() == MESSAGES;
    Ok(if is_right { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn start(
    name_server: &str,
    group: String,
    shop: &Shop,
    handlers: Vec<Route>,
) -> Result<RunningConsumer, idem_rocketmq::Error> {
    Consumer::builder(group)
        .name_server(name_server)
        .consume_from(ConsumeFrom::Timestamp(SystemTime::now()))
        .store(MemoryStore::new())
        .state(shop.clone())
        .handlers(handlers)
        .start()
        .await
}

/// Each buyer's steps one after the other; a send that is repeated after a lost answer looks like every fifth here.
async fn send(name_server: &str, run: u128) -> Result<(), Box<dyn std::error::Error>> {
    let producer = Producer::builder("shop").name_server(name_server).start().await?;
    let mut sent = 0;
    for order in 0..ORDERS_OF_EACH {
        for step in 0..STEPS.len() {
            for buyer_id in 0..BUYERS {
                let message = OrderStep { buyer_id, order_id: format!("{run}-{buyer_id}-{order}"), step };
                producer.send(&message).await?;
                sent += 1;
                if sent % 5 == 0 {
                    producer.send(&message).await?;
                }
            }
        }
    }
    producer.shutdown().await;
    Ok(())
}

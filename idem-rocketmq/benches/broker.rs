//! The costs of idem beside the bare client, over a broker in this process.
//!
//! `cargo bench -p idem-rocketmq --features embedded --bench broker`, and `-- idem` or `-- bare` after it for one of
//! them alone, to look at it with a profiler.
//!
//! Both read the same topic in groups of their own, with the same batches and listener threads, several times in
//! turn. The bare listener only counts; idem decodes each payload, takes its key, claims, runs and completes it over
//! the memory store. The clock runs from a tenth of the messages to the last one, so that joining a group is left
//! out. CPU time is the whole process's, the broker's share included.

mod measure;

use idem_rocketmq::codec::Bytes;
use idem_rocketmq::embedded::{EmbeddedBroker, Outgoing};
use idem_rocketmq::prelude::*;

use crate::measure::{Cost, MessageCount};

const MESSAGES: usize = 200_000;
const ROUNDS: usize = 5;
/// The least share of the bare client's messages per second.
const BUDGET: f64 = 0.9;

#[derive(Deserialize)]
struct OrderPaid {
    order_id: String,
    amount_cents: i64,
}

#[idempotent(key = "order_id", topic = "orders")]
async fn count(order: OrderPaid, State(count): State<MessageCount>) {
    std::hint::black_box(order.amount_cents);
    count.one();
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let broker = EmbeddedBroker::builder().topic("orders", 4).start().await?;
    broker.producer().send_all((0..MESSAGES).map(order).collect()).await?;
    println!("{MESSAGES} messages of about 100 bytes in 4 queues; {ROUNDS} rounds in turn");
    println!("{:>5}  {:<12} {:>12} {:>16}", "round", "", "messages/s", "CPU µs/message");
    let (mut bare, mut idem) = (Vec::new(), Vec::new());
    let only = std::env::args().nth(1).filter(|name| ["idem", "bare"].contains(&&**name));
    for round in 1..=ROUNDS {
        // Who comes first in one round comes second in the next.
        for turn in 0..2 {
            let is_idem = (round + turn) % 2 == 0;
            if only.as_deref().is_some_and(|only| is_idem != (only == "idem")) {
                continue;
            }
            if is_idem {
                idem.push(print(with_idem(&broker, round).await?, round, "idem"));
            } else {
                bare.push(print(without(&broker, round).await?, round, "bare client"));
            }
        }
    }
    broker.shutdown().await;
    if only.is_some() {
        return Ok(());
    }
    println!();
    verdict("best", best(&idem), best(&bare));
    verdict("median", Cost::median(&idem), Cost::median(&bare));
    Ok(())
}

fn order(number: usize) -> Outgoing {
    let body = format!(
        r#"{{"order_id":"order-{number:012}","amount_cents":{},"currency":"EUR","note":"paid by card, thank you"}}"#,
        number % 1_000
    );
    Outgoing::new("orders", body)
}

async fn without(broker: &EmbeddedBroker, round: usize) -> anyhow::Result<Cost> {
    let count = MessageCount::to(MESSAGES);
    let each = {
        let count = count.clone();
        move |payload: &Bytes| {
            std::hint::black_box(payload);
            count.one();
        }
    };
    let listener = broker.listen_bare(&format!("bare-{round}"), "orders", each).await?;
    let cost = count.measured().await;
    listener.shutdown().await;
    Ok(cost)
}

async fn with_idem(broker: &EmbeddedBroker, round: usize) -> anyhow::Result<Cost> {
    let count = MessageCount::to(MESSAGES);
    let consumer = Consumer::builder(format!("idem-{round}"))
        .name_server(broker.name_server())
        .store(MemoryStore::new())
        .state(count.clone())
        .handlers(handlers![count])
        .start()
        .await?;
    let cost = count.measured().await;
    consumer.shutdown().await;
    Ok(cost)
}

fn print(cost: Cost, round: usize, what: &str) -> Cost {
    println!("{round:>5}  {what:<12} {:>12.0} {:>16.2}", cost.per_second, cost.cpu_micros);
    cost
}

fn best(costs: &[Cost]) -> Cost {
    let fold = |best: Cost, cost: &Cost| Cost {
        per_second: best.per_second.max(cost.per_second),
        cpu_micros: best.cpu_micros.min(cost.cpu_micros),
        ..*cost
    };
    costs.iter().fold(Cost::median(costs), fold)
}

fn verdict(what: &str, idem: Cost, bare: Cost) {
    let ratio = idem.per_second / bare.per_second;
    let kept = if ratio >= BUDGET { "kept" } else { "MISSED" };
    println!(
        "{what:<6} idem / bare client: {:.0} / {:.0} messages/s = {ratio:.2} (budget: at least {BUDGET:.2}, {kept}); \
         {:.2} µs of CPU more a message",
        idem.per_second,
        bare.per_second,
        idem.cpu_micros - bare.cpu_micros
    );
}

//! A broker in this process gets orders, of which many are sent twice and one is a document that the index refuses. A
//! batch handler writes them into the index, many with each request.
//!
//! `cargo run -p bulk`

mod index;
mod report;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use idem_rocketmq::embedded::{EmbeddedBroker, Outgoing};
use idem_rocketmq::prelude::*;

use crate::index::{Index, Refused};
use crate::report::Report;

/// How many orders there are; every third is sent twice.
const ORDERS: usize = 2_000;
/// The one that the index refuses.
const BAD: usize = 1_234;
/// The example must not hang where something is wrong.
const LONGEST: Duration = Duration::from_mins(1);

/// A document of the index.
#[derive(Deserialize)]
struct Order {
    order_id: String,
    amount_cents: i64,
}

/// Writes orders into the index, with one request for each batch.
///
/// An error of the whole request would bring all of them back. An error of a single document is its own:
/// the refused one is tried again, alone, and after three attempts it is a dead letter. All others are done.
#[idempotent(key = "order_id", topic = "orders", batch, max_attempts = 3, backoff = "1s")]
async fn index_orders(orders: Vec<Order>, State(index): State<Index>) -> BatchResult {
    let refused = index.bulk(&orders).await?;
    Ok(refused.into_iter().map(|Refused { place, reason }| (place, reason)).collect())
}

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    println!("Starting a RocketMQ name server and broker in this process ..");
    let broker = EmbeddedBroker::builder().topic("orders", 4).start().await?;
    let messages = messages();
    let sent = messages.len();
    println!(
        "Sending {ORDERS} orders in {sent} messages: every third twice, and one that the index refuses .."
    );
    broker.producer().send_all(messages).await?;

    println!("Writing them into an index whose requests take 20 ms each ..");
    let index = Index::default();
    let consumer = Consumer::builder("search")
        .name_server(broker.name_server())
        .store(MemoryStore::new())
        .state(index.clone())
        .handlers(handlers![index_orders])
        .start()
        .await?;
    let begun = Instant::now();
    let dead_letters = wait(&broker, &index, begun).await?;
    consumer.shutdown().await;

    let report = Report {
        orders: ORDERS,
        sent,
        seconds: begun.elapsed().as_secs_f32(),
        requests: index.requests(),
        written: index.written(),
        refused: index.refused(),
        documents: index.documents(),
        dead_letters,
        cents: index.cents(),
        expected_cents: (0..ORDERS).filter(|number| *number != BAD).map(cents).sum(),
    };
    broker.shutdown().await;
    println!("{report}");
    Ok(if report.is_right() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Waits until every good order is in the index and the bad one is a dead letter. How many dead letters there are.
async fn wait(
    broker: &EmbeddedBroker,
    index: &Index,
    begun: Instant,
) -> Result<usize, Box<dyn std::error::Error>> {
    let mut last = (0, 0);
    loop {
        let documents = index.documents();
        let dead_letters = broker.read_all("%DLQ%search").await?.len();
        let refused = index.refused();
        if (documents, refused) != last {
            let seconds = begun.elapsed().as_secs_f32();
            println!(
                "  {seconds:4.1} s: {documents} of {ORDERS} in the index after {} requests, the bad one refused {refused} times",
                index.requests()
            );
            last = (documents, refused);
        }
        if documents == ORDERS - 1 && dead_letters > 0 {
            return Ok(dead_letters);
        }
        if begun.elapsed() > LONGEST {
            return Err(
                format!("not done after {LONGEST:?}: {documents} of {ORDERS} are in the index").into()
            );
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Copies come right behind their originals, or at the end.
fn messages() -> Vec<Outgoing> {
    let (mut messages, mut late) = (Vec::new(), Vec::new());
    for number in 0..ORDERS {
        let amount = if number == BAD { -1 } else { cents(number) };
        let body = format!(r#"{{"order_id":"order-{number}","amount_cents":{amount}}}"#);
        let message = Outgoing::new("orders", body);
        messages.push(message.clone());
        match number % 6 {
            0 => messages.push(message),
            3 => late.push(message),
            _ => {}
        }
    }
    messages.extend(late);
    messages
}

fn cents(number: usize) -> i64 {
    i64::try_from(number * 7 % 500).unwrap_or_default() + 100
}

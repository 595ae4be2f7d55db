//! A broker for trying the service out: it gets an order a second, and many of them twice.

use std::time::Duration;

use idem_rocketmq::embedded::{EmbeddedBroker, Outgoing};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let broker = EmbeddedBroker::builder().topic("orders", 4).start().await?;
    println!(
        "start the service, once or twice, with\n\n  NAMESRV_ADDR={} cargo run -p orders\n",
        broker.name_server()
    );
    for number in 0_u64.. {
        for message in messages(number) {
            broker.producer().send(message).await?;
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
            stopped = tokio::signal::ctrl_c() => {
                stopped?;
                break;
            }
        }
    }
    broker.shutdown().await;
    Ok(())
}

/// Order `number`, of buyer `number / 4`: twice where the number is even, and marked where it is the buyer's first.
fn messages(number: u64) -> Vec<Outgoing> {
    let body = format!(
        r#"{{"order_id":"order-{number}","buyer":{{"id":"buyer-{}"}},"amount_cents":{}}}"#,
        number / 4,
        100 + number % 7 * 50,
    );
    let paid = Outgoing::new("orders", body).tag("PAID");
    let mut messages = vec![paid.clone()];
    if number.is_multiple_of(2) {
        messages.push(paid.clone());
    }
    if number.is_multiple_of(4) {
        messages.extend([paid.clone().tag("FIRST"), paid.tag("FIRST")]);
    }
    println!("order-{number}: sent {} messages", messages.len());
    messages
}

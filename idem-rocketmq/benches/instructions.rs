//! The instructions and allocations of a message in a listener call of 32: routed, decoded from JSON, keyed, claimed over
//! the memory store, run and settled.
//!
//! `cargo bench -p idem-rocketmq --bench instructions`, and `-- --save` to keep the figures in `instructions.txt`
//!
//! The calls go through [`TestConsumer`], whose bridge is that of production. The messages are made before, and are not
//! counted. What the test consumer itself does for each of them is an eighth of the figure.

#[path = "../../idem-core/benches/callgrind/mod.rs"]
mod callgrind;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use idem_rocketmq::prelude::*;
use idem_rocketmq::testing::{TestConsumer, Verdict};

use self::callgrind::{Case, MESSAGES};

/// The messages of a listener call under load.
const BATCH: usize = 32;

#[derive(Deserialize)]
struct OrderPaid {
    order_id: String,
    amount_cents: i64,
}

#[idempotent(key = "order_id", topic = "orders")]
async fn count(order: OrderPaid) {
    std::hint::black_box((order.order_id, order.amount_cents));
}

fn main() -> anyhow::Result<ExitCode> {
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/instructions.txt");
    let cases = [
        Case { name: "new keys, calls of 32", handle: new_keys },
        Case { name: "duplicates, calls of 32", handle: duplicates },
    ];
    callgrind::main(&kept, &cases)
}

fn new_keys(messages: usize) {
    let orders = orders(2 * MESSAGES);
    handle(&orders[..messages], 1);
}

fn duplicates(messages: usize) {
    handle(&orders(BATCH), messages / BATCH + 1);
}

/// Delivers `orders` so many times.
fn handle(orders: &[Arc<Delivery>], times: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let consumer = consumer();
        for orders in std::iter::repeat_n(orders, times).flat_map(|orders| orders.chunks(BATCH)) {
            for decision in consumer.deliver_all(orders.iter().cloned()).await {
                assert_eq!(decision.verdict, Verdict::Ack);
            }
        }
    });
}

fn consumer() -> TestConsumer {
    let consumer = Consumer::builder("bench").store(MemoryStore::new()).handlers(handlers![count]);
    consumer.test().expect("the handler can be set up")
}

fn orders(count: usize) -> Vec<Arc<Delivery>> {
    (0..count).map(|number| Arc::new(order(number))).collect()
}

fn order(number: usize) -> Delivery {
    let body = format!(
        r#"{{"order_id":"order-{number:012}","amount_cents":{},"currency":"EUR","note":"paid by card, thank you"}}"#,
        number % 1_000
    );
    Delivery::builder("orders").body(body).build()
}

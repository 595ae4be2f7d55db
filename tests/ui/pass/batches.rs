//! Shapes that a batch handler may have.

use idem_rocketmq::codec::Bytes;
use idem_rocketmq::codec::{Json, Text};
use idem_rocketmq::handler::BatchItem;
use idem_rocketmq::prelude::*;

#[derive(Deserialize)]
struct OrderPaid {
    order_id: String,
    amount: i64,
}

#[idempotent(key = "order_id", topic = "orders", batch)]
async fn for_all(orders: Vec<OrderPaid>, State(least): State<i64>) -> anyhow::Result<()> {
    anyhow::ensure!(orders.iter().all(|order| order.amount >= least), "too little");
    Ok(())
}

#[idempotent(key = ("order_id", "amount"), topic = "orders", batch = 10, concurrency = 20)]
async fn nothing(_: Vec<OrderPaid>) {}

/// With [documentation](each).
#[idempotent(key_with = with, topic = "orders", batch)]
async fn each(orders: Batch<OrderPaid>) -> Vec<Result<(), Reject>> {
    orders
        .iter()
        .map(|order| (order.amount > 0).then_some(()).ok_or_else(|| Reject::new("too little")))
        .collect()
}

#[idempotent(key_from = message_keys, topic = "lines", codec = Text, batch)]
async fn failures(lines: std::vec::Vec<String>, _: State<&'static str>) -> BatchResult {
    std::future::ready(()).await;
    Ok(lines
        .iter()
        .enumerate()
        .filter(|(_, line)| line.is_empty())
        .map(|(place, _)| (place, "empty"))
        .collect())
}

#[idempotent(key_from = message_keys, topic = "lines", batch)]
async fn both(lines: Batch<Bytes>) -> Result<Vec<HandlerResult>, std::io::Error> {
    Ok(lines.into_iter().map(|line| line.is_empty().then_some(()).ok_or_else(|| "full".into())).collect())
}

/// One message whose payload is a list, because its codec is said.
#[idempotent(key_from = message_keys, topic = "lists", codec = Json)]
async fn list(_: Vec<u8>) {}

fn with(order: &OrderPaid) -> &str {
    &order.order_id
}

#[tokio::test]
async fn an_annotated_batch_function_stays_an_ordinary_function() {
    let order = |amount| OrderPaid { order_id: "o-7".to_owned(), amount };
    assert!(for_all(vec![order(1), order(5)], State(2)).await.is_err());
    nothing(Vec::new()).await;
    let item = |amount| BatchItem::new(order(amount), Delivery::builder("orders").build());
    let results = each([item(1), item(-1)].into_iter().collect()).await;
    assert!(results[0].is_ok() && results[1].is_err());
    let failures = failures(vec![String::new(), "a".to_owned()], State("")).await;
    assert_eq!(failures.map(|failures| failures.len()).ok(), Some(1));
    let line = BatchItem::new(Bytes::new(), Delivery::builder("lines").build());
    assert_eq!(both(std::iter::once(line).collect()).await.map(|results| results.len()).ok(), Some(1));
    list(Vec::new()).await;
}

#[test]
fn batch_handlers_are_listed_among_others() {
    assert_eq!(handlers![for_all, nothing, each, failures, both, list].len(), 6);
}

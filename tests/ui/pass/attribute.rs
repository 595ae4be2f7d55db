//! Shapes that a function with the attribute may have.

use std::sync::Arc;
use std::time::Duration;

use idem_rocketmq::prelude::*;

#[derive(Deserialize)]
struct OrderPaid {
    order_id: String,
    amount: i64,
}

#[idempotent(key = "order_id", topic = "orders")]
async fn plain(order: OrderPaid) {
    assert_eq!((order.order_id.as_str(), order.amount), ("o-7", 5));
}

/// Has [documentation](documented), which names the function and not the struct beside it.
#[idempotent(key = order_id, topic = "orders", tag = "PAID")]
async fn documented(mut order: OrderPaid, _: &Delivery) -> HandlerResult {
    order.amount += 1;
    Ok(())
}

#[idempotent(key = "order_id", topic = "orders")]
#[must_use = "its own attributes stay"]
async fn attributes(_order: OrderPaid) -> Result<(), std::io::Error> {
    std::future::ready(()).await;
    Ok(())
}

#[idempotent(key = "order_id", topic = "orders")]
async fn anyhow_error(order: OrderPaid, State(factor): State<i64>) -> anyhow::Result<()> {
    anyhow::ensure!(order.amount * factor > 0, "too little");
    Ok(())
}

#[idempotent(key = "order_id", topic = "orders")]
async fn mixed_errors(order: OrderPaid, delivery: Arc<Delivery>, attempt: Attempt) -> HandlerResult {
    let _: u8 = order.order_id.parse().or_reject()?;
    std::str::from_utf8(delivery.body()).or_retry_after(Duration::from_secs(attempt.number().into()))?;
    Err("a text")?;
    Err(Retry::after(Duration::from_secs(1)))?
}

#[cfg(any())]
#[idempotent(key = "order_id", topic = "orders")]
async fn not_there(order: NoSuchType) {}

#[idempotent(key = "order_id", topic = "orders")]
#[cfg(any())]
async fn not_there_either(order: NoSuchType) {}

#[deprecated = "use the other"]
#[idempotent(key = "order_id", topic = "orders")]
async fn old(_: OrderPaid) {}

fn order() -> OrderPaid {
    OrderPaid { order_id: "o-7".to_owned(), amount: 5 }
}

#[tokio::test]
async fn an_annotated_function_stays_an_ordinary_function() {
    plain(order()).await;
    documented(order(), &Delivery::builder("orders").build()).await.expect("it does nothing");
    attributes(order()).await.expect("it does nothing");
    assert!(anyhow_error(order(), State(-1)).await.is_err());
}

#[test]
fn handlers_are_listed_with_and_without_a_comma() {
    let none: Vec<Route> = handlers![];
    assert!(none.is_empty());
    assert_eq!(handlers![plain, documented, attributes, anyhow_error, mixed_errors,].len(), 5);
    assert_eq!(handlers![self::plain, super::attribute::plain, crate::pass::attribute::old].len(), 3);
}

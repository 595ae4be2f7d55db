use idem_rocketmq::prelude::*;

#[derive(Deserialize)]
struct OrderPaid {
    order_id: String,
    amount: f64,
}

#[idempotent(key_with = amount, topic = "orders")]
async fn pay(_: OrderPaid) {}

fn amount(order: &OrderPaid) -> f64 {
    order.amount
}

fn main() {
    let _ = handlers![pay];
}

use idem_rocketmq::prelude::*;

#[derive(Deserialize)]
struct OrderPaid {
    order_id: String,
    amount: f64,
}

#[idempotent(key = "order_id", topic = "orders", filter = " ")]
async fn pay(_: OrderPaid) {}

fn main() {
    let _ = handlers![pay];
}

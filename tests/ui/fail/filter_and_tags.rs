use idem_rocketmq::prelude::*;

#[derive(Deserialize)]
struct OrderPaid {
    order_id: String,
    amount: f64,
}

#[idempotent(key = "order_id", topic = "orders", filter = "amount > 100", tags = ["A", "B"])]
async fn pay(_: OrderPaid) {}

fn main() {
    let _ = handlers![pay];
}

use idem_rocketmq::prelude::*;

#[derive(Deserialize)]
struct OrderPaid {
    order_id: String,
}

const LEASE: &str = "30s";

#[idempotent(key = "order_id", topic = "orders", lease = LEASE)]
async fn pay(_: OrderPaid) {}

fn main() {
    let _ = handlers![pay];
}

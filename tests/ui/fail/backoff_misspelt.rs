use idem_rocketmq::prelude::*;

#[derive(Deserialize)]
struct OrderPaid {
    order_id: String,
}

#[idempotent(key = "order_id", topic = "orders", backoff = exponental("1s", "5m"))]
async fn pay(_: OrderPaid) {}

fn main() {
    let _ = handlers![pay];
}

use idem_rocketmq::prelude::*;

#[derive(Deserialize)]
struct OrderPaid {
    order_id: String,
}

#[idempotent(key = "order_id", topic = "orders", tags = "PAID")]
async fn pay(_: OrderPaid) {}

fn main() {
    let _ = handlers![pay];
}

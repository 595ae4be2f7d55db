use idem_rocketmq::prelude::*;

#[derive(Deserialize)]
struct OrderPaid {
    order_id: String,
}

const RETRIES: u32 = 3;

#[idempotent(key = "order_id", topic = "orders", backoff = RETRIES)]
async fn pay(_: OrderPaid) {}

fn main() {
    let _ = handlers![pay];
}

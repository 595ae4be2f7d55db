use idem_rocketmq::prelude::*;

#[derive(Deserialize)]
struct OrderPaid {
    order_id: String,
}

#[idempotent(key = "order_id", topic = "orders", batch, transactional)]
async fn pay(_: Vec<OrderPaid>) {}

fn main() {
    let _ = handlers![pay];
}

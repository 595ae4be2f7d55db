use idem_rocketmq::prelude::*;

#[derive(Deserialize)]
struct OrderPaid {
    order_id: String,
    buyer_id: u64,
}

#[idempotent(key = "order_id", topic = "orders", order_by = "buyer_id", broadcast)]
async fn pay(_: OrderPaid) {}

fn main() {
    let _ = handlers![pay];
}

use idem_rocketmq::prelude::*;

#[derive(Deserialize)]
struct OrderPaid {
    order_id: String,
}

#[idempotent(key_with = |order| order.oder_id.clone(), topic = "orders")]
async fn pay(_: OrderPaid) {}

fn main() {
    let _ = handlers![pay];
}

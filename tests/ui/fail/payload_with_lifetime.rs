use idem_rocketmq::prelude::*;

#[derive(Deserialize)]
struct OrderPaid<'a> {
    order_id: &'a str,
}

#[idempotent(key = "order_id", topic = "orders")]
async fn pay(_: OrderPaid<'_>) {}

fn main() {
    let _ = handlers![pay];
}

use idem_rocketmq::prelude::*;

#[derive(Deserialize)]
struct OrderPaid {
    order_id: String,
    amount: f64,
}

#[idempotent(key = "order_id", topic = "orders")]
async fn pay<'a>(_: OrderPaid, _: &'a Delivery) {}

fn main() {
    let _ = handlers![pay];
}

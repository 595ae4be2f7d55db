use idem_rocketmq::prelude::*;

#[derive(Deserialize)]
struct OrderPaid {
    order_id: String,
    amount: f64,
}

#[derive(Clone)]
struct Gmv;

#[idempotent(key = "order_id", topic = "orders")]
async fn pay(_: OrderPaid, _: Gmv) {}

fn main() {
    let _ = handlers![pay];
}

use idem_rocketmq::prelude::*;

#[derive(Deserialize)]
struct OrderPaid {
    order_id: String,
    amount: f64,
}

#[idempotent(key = "order_id", topic = "orders")]
async fn pay(State(_): State<u8>, _: OrderPaid) {}

fn main() {
    let _ = handlers![pay];
}

use idem_rocketmq::prelude::*;

#[derive(Deserialize)]
struct OrderPaid {
    order_id: String,
    amount: f64,
}

struct Order {
    id: u64,
}

#[idempotent(key = "id", topic = "orders")]
async fn pay(_: Order) {}

fn main() {
    let _ = handlers![pay];
}

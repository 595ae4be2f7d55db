use idem_rocketmq::prelude::*;

#[derive(Deserialize)]
struct OrderPaid {
    order_id: String,
    amount: f64,
}

struct Failed;

#[idempotent(key = "order_id", topic = "orders")]
async fn pay(_: OrderPaid) -> Result<(), Failed> {
    Err(Failed)
}

fn main() {
    let _ = handlers![pay];
}

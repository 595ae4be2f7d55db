use idem_rocketmq::prelude::*;

#[derive(Deserialize)]
struct OrderPaid {
    order_id: String,
}

#[idempotent(key = "oder_id", topic = "orders", batch)]
async fn index(_: Vec<OrderPaid>) {}

fn main() {
    let _ = handlers![index];
}

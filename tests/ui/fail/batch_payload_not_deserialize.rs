use idem_rocketmq::prelude::*;

struct OrderPaid {
    order_id: String,
}

#[idempotent(key = "order_id", topic = "orders", batch)]
async fn index(_: Vec<OrderPaid>) {}

fn main() {
    let _ = handlers![index];
}

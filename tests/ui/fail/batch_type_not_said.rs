use idem_rocketmq::prelude::*;

#[derive(Deserialize)]
struct OrderPaid {
    order_id: String,
}

#[idempotent(key = "order_id", topic = "orders")]
async fn index(_: Batch<OrderPaid>) {}

fn main() {
    let _ = handlers![index];
}

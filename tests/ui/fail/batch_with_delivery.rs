use idem_rocketmq::prelude::*;

#[derive(Deserialize)]
struct OrderPaid {
    order_id: String,
}

#[idempotent(key = "order_id", topic = "orders", batch)]
async fn index(_: Vec<OrderPaid>, _: &Delivery) {}

fn main() {
    let _ = handlers![index];
}

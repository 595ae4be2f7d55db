use idem_rocketmq::prelude::*;

#[derive(Deserialize)]
struct OrderPaid {
    order_id: String,
    amount: f64,
}

use std::rc::Rc;

#[idempotent(key = "order_id", topic = "orders")]
async fn pay(_: OrderPaid) {
    let counter = Rc::new(1);
    std::future::ready(()).await;
    drop(counter);
}

fn main() {
    let _ = handlers![pay];
}

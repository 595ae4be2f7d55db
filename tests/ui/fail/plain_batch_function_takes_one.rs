use idem_rocketmq::batch_handler;
use idem_rocketmq::prelude::*;

#[derive(Deserialize)]
struct OrderPaid {
    order_id: String,
}

async fn index(_: OrderPaid) {}

fn main() {
    let _ = batch_handler("orders", index).key(|order: &OrderPaid| order.order_id.clone());
}

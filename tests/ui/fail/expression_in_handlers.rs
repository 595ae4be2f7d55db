use idem_rocketmq::prelude::*;

#[derive(Deserialize)]
struct OrderPaid {
    order_id: String,
    amount: f64,
}

async fn pay(_: OrderPaid) {}

fn main() {
    let _ = handlers![handler("orders", pay).key(|order| order.order_id.clone())];
}

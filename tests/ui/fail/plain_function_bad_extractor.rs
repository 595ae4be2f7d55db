use idem_rocketmq::prelude::*;

#[derive(Deserialize)]
struct OrderPaid {
    order_id: String,
    amount: f64,
}

async fn pay(_: OrderPaid, _: u8) {}

fn main() {
    let _ = handler("orders", pay).key(|order| order.order_id.clone());
}

use idem_rocketmq::prelude::*;

#[derive(Deserialize)]
struct OrderPaid {
    order_id: String,
    amount: f64,
}

async fn pay(_: OrderPaid) {}

fn main() {
    takes(handler("orders", pay));
}

fn takes(_: impl idem_rocketmq::handler::IntoRoute) {}

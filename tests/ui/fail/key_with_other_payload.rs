use idem_rocketmq::prelude::*;

#[derive(Deserialize)]
struct OrderPaid {
    order_id: String,
    amount: f64,
}

#[idempotent(key_with = id, topic = "orders")]
async fn pay(_: OrderPaid) {}

fn id(text: &String) -> String {
    text.clone()
}

fn main() {
    let _ = handlers![pay];
}

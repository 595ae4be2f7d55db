use idem_rocketmq::prelude::*;

#[derive(Deserialize)]
struct OrderPaid {
    order_id: String,
}

#[idempotent(key = "order_id", topic = "orders")]
async fn pay(_: OrderPaid, delivery: &mut Delivery) {
    println!("{}", delivery.topic());
}

fn main() {
    let _ = handlers![pay];
}

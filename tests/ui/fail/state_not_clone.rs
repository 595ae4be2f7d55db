use idem_rocketmq::prelude::*;

#[derive(Deserialize)]
struct OrderPaid {
    order_id: String,
    amount: f64,
}

struct Gmv;

#[idempotent(key = "order_id", topic = "orders")]
async fn pay(_: OrderPaid, _: State<Gmv>) {}

fn main() {
    let _ = handlers![pay];
}

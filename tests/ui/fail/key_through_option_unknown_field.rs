use idem_rocketmq::prelude::*;

#[derive(Deserialize)]
struct OrderPaid {
    buyer: Option<Buyer>,
}

#[derive(Deserialize)]
struct Buyer {
    id: u64,
}

#[idempotent(key = "buyer.idd", topic = "orders")]
async fn pay(_: OrderPaid) {}

fn main() {
    let _ = handlers![pay];
}

use idem_rocketmq::prelude::*;

#[derive(Deserialize)]
struct OrderPaid {
    order_id: String,
}

type Orders = Vec<OrderPaid>;

#[idempotent(key_from = message_keys, topic = "orders")]
async fn index(_: Orders) {}

fn main() {
    let _ = handlers![index];
}

use idem_rocketmq::prelude::*;

#[derive(Serialize, Message)]
#[message(topic = "orders", key = "order_id", order = "order_id")]
struct OrderPaid {
    order_id: String,
}

fn main() {}

use idem_rocketmq::prelude::*;

#[derive(Message)]
#[message(topic = "orders", key = "order_id")]
struct OrderPaid {
    order_id: String,
}

fn main() {}

use idem_rocketmq::prelude::*;

#[derive(Serialize, Message)]
#[message(topic = "orders", key = "order_is")]
struct OrderPaid {
    order_id: String,
}

fn main() {}

use idem_rocketmq::prelude::*;

#[derive(Serialize, Message)]
#[message(topic = "my orders", key = "order_id")]
struct OrderPaid {
    order_id: String,
}

fn main() {}

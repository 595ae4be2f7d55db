use idem_rocketmq::prelude::*;

#[derive(Serialize, Message)]
#[message(topic = "orders")]
struct OrderPaid {
    order_id: String,
}

fn main() {}

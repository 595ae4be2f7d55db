use idem_rocketmq::prelude::*;

#[derive(Serialize, Message)]
#[message(topic = "orders", key = "order_id")]
enum Event {
    Paid { order_id: String },
}

fn main() {}

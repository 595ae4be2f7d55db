use idem_rocketmq::prelude::*;

#[derive(Serialize, Message)]
struct OrderPaid {
    order_id: String,
}

fn main() {}

use idem_rocketmq::prelude::*;

#[derive(Serialize, Message)]
#[message(topic = "orders", key = "order_id", order_by = "amount")]
struct OrderPaid {
    order_id: String,
    amount: f64,
}

fn main() {}

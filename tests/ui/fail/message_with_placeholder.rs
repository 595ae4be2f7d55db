use idem_rocketmq::prelude::*;

#[derive(Serialize, Message)]
#[message(topic = "${orders.topic}", key = "order_id")]
struct OrderPaid {
    order_id: String,
}

fn main() {
    let _ = OrderPaid { order_id: "7".into() };
}

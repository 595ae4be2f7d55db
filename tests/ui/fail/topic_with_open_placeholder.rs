use idem_rocketmq::prelude::*;

#[idempotent(key_from = message_keys, topic = "${orders.topic")]
async fn pay(_: String) {}

fn main() {
    let _ = handlers![pay];
}

use idem_rocketmq::prelude::*;

#[idempotent(key_from = message_keys, topic = "orders")]
async fn sqlx(_: String) {}

fn main() {
    let _ = handlers![sqlx];
}

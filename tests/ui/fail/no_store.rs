use idem_rocketmq::prelude::*;

#[idempotent(key_from = message_keys, topic = "lines")]
async fn count(_: String) {}

fn main() {
    let consumer = Consumer::builder("g").name_server("127.0.0.1:9876").handlers(handlers![count]);
    let _ = consumer.run();
}

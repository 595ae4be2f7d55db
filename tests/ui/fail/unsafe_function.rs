use idem_rocketmq::prelude::*;

#[idempotent(key_from = message_keys, topic = "lines")]
async unsafe fn count(_: String) {}

fn main() {
    let _ = handlers![count];
}

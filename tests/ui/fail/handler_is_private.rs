use idem_rocketmq::prelude::*;

mod payments {
    use super::*;

    #[idempotent(key_from = message_keys, topic = "orders")]
    async fn handle(_: String) {}
}

fn main() {
    let _ = handlers![payments::handle];
}

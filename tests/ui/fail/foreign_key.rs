use idem_rocketmq::prelude::*;
use std::net::SocketAddr;

#[derive(Deserialize)]
struct Logon {
    from: SocketAddr,
}

#[idempotent(key = "from", topic = "logons")]
async fn note(_: Logon) {}

fn main() {
    let _ = handlers![note];
}

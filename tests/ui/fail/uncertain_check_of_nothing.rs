use idem_rocketmq::prelude::*;

#[derive(Deserialize)]
struct Payout {
    id: u64,
}

#[idempotent(key = "id", topic = "payouts", uncertain = check)]
async fn pay(_: Payout) {}

fn main() {
    let _ = handlers![pay];
}

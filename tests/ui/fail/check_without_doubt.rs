use idem_rocketmq::handler::Happened;
use idem_rocketmq::prelude::*;

#[derive(Deserialize)]
struct Payout {
    id: u64,
}

async fn was_paid(_: &Payout) -> Result<Happened, String> {
    Ok(Happened::Unknown)
}

#[idempotent(key = "id", topic = "payouts", uncertain = check(was_paid))]
async fn pay(_: Payout) {}

fn main() {
    let _ = handlers![pay];
}

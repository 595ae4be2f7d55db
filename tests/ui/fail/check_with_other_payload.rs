use idem_rocketmq::extract::Doubt;
use idem_rocketmq::handler::Happened;
use idem_rocketmq::prelude::*;

#[derive(Deserialize)]
struct Payout {
    id: u64,
}

struct Letter;

async fn was_paid(_: &Letter, _: &Doubt) -> Result<Happened, String> {
    Ok(Happened::Unknown)
}

#[idempotent(key = "id", topic = "payouts", uncertain = check(was_paid))]
async fn pay(_: Payout) {}

fn main() {
    let _ = handlers![pay];
}

use idem_rocketmq::prelude::*;

#[derive(Deserialize)]
struct OrderPaid {
    order_id: String,
}

type PayResult = Result<(), Box<dyn std::error::Error>>;

#[idempotent(key = "order_id", topic = "orders")]
async fn pay(_: OrderPaid) -> PayResult {
    Ok(())
}

fn main() {
    let _ = handlers![pay];
}

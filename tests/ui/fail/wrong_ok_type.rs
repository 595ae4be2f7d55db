use idem_rocketmq::prelude::*;

#[derive(Deserialize)]
struct OrderPaid {
    order_id: String,
    amount: f64,
}

#[idempotent(key = "order_id", topic = "orders")]
async fn pay(_: OrderPaid) -> Result<u32, std::io::Error> {
    Ok(7)
}

fn main() {
    let _ = handlers![pay];
}

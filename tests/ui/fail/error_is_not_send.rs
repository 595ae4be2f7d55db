use idem_rocketmq::prelude::*;

#[derive(Deserialize)]
struct OrderPaid {
    order_id: String,
}

#[idempotent(key = "order_id", topic = "orders")]
async fn pay(order: OrderPaid) -> Result<(), Box<dyn std::error::Error>> {
    order.order_id.parse::<u64>()?;
    Ok(())
}

fn main() {
    let _ = handlers![pay];
}

use idem_rocketmq::prelude::*;
use sqlx::PgConnection;

#[derive(Deserialize)]
struct OrderPaid {
    order_id: String,
}

#[idempotent(key = "order_id", topic = "orders", batch, transactional, group_commit)]
async fn pay(_: Vec<OrderPaid>, _: &mut PgConnection) {}

fn main() {
    let _ = handlers![pay];
}

use idem_rocketmq::prelude::*;

#[derive(Deserialize)]
struct OrderPaid {
    order_id: String,
    amount: f64,
}

impl OrderPaid {
    #[idempotent(key = "order_id", topic = "orders")]
    async fn pay(&self, order: OrderPaid) {}
}

fn main() {}

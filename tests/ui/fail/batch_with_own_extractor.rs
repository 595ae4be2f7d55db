use idem_rocketmq::extract::{Call, Extract, ExtractError};
use idem_rocketmq::prelude::*;

#[derive(Deserialize)]
struct OrderPaid {
    order_id: String,
}

struct Tenant;

impl Extract<'_> for Tenant {
    async fn extract(
        _: &mut Call<'_>,
    ) -> Result<Self, ExtractError> {
        Ok(Self)
    }
}

#[idempotent(key = "order_id", topic = "orders", batch)]
async fn index(_: Vec<OrderPaid>, _: Tenant) {}

fn main() {
    let _ = handlers![index];
}

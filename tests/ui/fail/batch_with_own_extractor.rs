use idem_rocketmq::prelude::*;

#[derive(Deserialize)]
struct OrderPaid {
    order_id: String,
}

struct Tenant;

impl Extract<'_> for Tenant {
    fn extract(
        _: &mut idem_rocketmq::Call<'_>,
    ) -> Result<Self, idem_rocketmq::extract::ExtractError> {
        Ok(Self)
    }
}

#[idempotent(key = "order_id", topic = "orders", batch)]
async fn index(_: Vec<OrderPaid>, _: Tenant) {}

fn main() {
    let _ = handlers![index];
}

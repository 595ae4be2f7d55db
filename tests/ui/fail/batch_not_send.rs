use idem_rocketmq::prelude::*;

#[derive(Deserialize)]
struct OrderPaid {
    order_id: String,
}

#[idempotent(key = "order_id", topic = "orders", batch)]
async fn index(_: Vec<OrderPaid>) {
    let rc = std::rc::Rc::new(1);
    std::future::ready(()).await;
    drop(rc);
}

fn main() {
    let _ = handlers![index];
}

use idem_rocketmq::prelude::*;

#[derive(Deserialize)]
struct OrderPaid {
    order_id: String,
}

#[idempotent(key = "order_id", topic = "orders")]
async fn pay(order: OrderPaid) {
    println!("{}", order.order_id);
}

#[test]
fn an_annotated_function_stays_callable() {
    assert_eq!(handlers![pay].len(), 1);
}

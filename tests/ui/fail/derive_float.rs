use idem_rocketmq::prelude::*;

#[derive(IdempotencyKey)]
struct Order {
    #[idempotency_key]
    amount: f64,
}

fn main() {}

use idem_rocketmq::prelude::*;

#[derive(IdempotencyKey)]
struct Order {
    #[idempotency_key = "id"]
    id: u64,
}

fn main() {}

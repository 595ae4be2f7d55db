use idem_rocketmq::prelude::*;

#[derive(IdempotencyKey)]
struct Order {
    id: u64,
}

fn main() {}

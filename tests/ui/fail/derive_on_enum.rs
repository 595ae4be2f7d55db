use idem_rocketmq::prelude::*;

#[derive(IdempotencyKey)]
enum Order {
    Paid { id: u64 },
}

fn main() {}

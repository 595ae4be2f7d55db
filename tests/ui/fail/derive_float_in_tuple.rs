use idem_rocketmq::prelude::*;

#[derive(IdempotencyKey)]
struct Order(#[idempotency_key] f64);

fn main() {}

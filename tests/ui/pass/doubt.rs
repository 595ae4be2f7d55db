//! Handlers with a check, with every kind of extractor beside it.

use std::sync::Arc;

use idem_rocketmq::extract::{Doubt, Lease};
use idem_rocketmq::handler::Happened;
use idem_rocketmq::prelude::*;

#[derive(Deserialize)]
struct Payout {
    id: u64,
}

async fn was_paid(
    payout: &Payout,
    doubt: &Doubt,
    State(paid): State<Arc<Vec<u64>>>,
    _: Lease,
    _: Arc<Delivery>,
) -> Result<Happened, std::io::Error> {
    tokio::task::yield_now().await;
    println!("{doubt}");
    Ok(if paid.contains(&payout.id) { Happened::Yes } else { Happened::No })
}

#[idempotent(key = "id", topic = "payouts", tag = "ONE", uncertain = check(self::was_paid))]
async fn pay(_: Payout, _: Option<Doubt>) -> HandlerResult {
    Err(Uncertain::because("no answer"))?
}

#[idempotent(key = "id", topic = "payouts", tag = "MANY", batch, uncertain = check(was_paid), timeout = "1m")]
async fn pay_all(_: Vec<Payout>) -> BatchResult {
    Ok(BatchFailures::default())
}

#[idempotent(key = "id", topic = "letters", uncertain = hold)]
async fn send(_: Payout) {}

#[idempotent(key = "id", topic = "notes", uncertain = run)]
async fn note(_: Payout) {}

#[test]
fn a_handler_has_a_check_for_what_ended_without_an_answer() {
    let consumer = Consumer::builder("treasury").store(MemoryStore::new()).state(Arc::new(vec![7_u64]));
    let consumer = consumer.handlers(handlers![pay, pay_all, send, note]);
    assert!(consumer.test().is_ok());
}

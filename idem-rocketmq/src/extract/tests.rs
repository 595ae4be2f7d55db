//! Extractors that wait.

use std::time::Duration;

use super::{BatchCall, BatchExtract, Call, Extract, ExtractError};
use crate::handler::{batch_handler, handler};
use crate::prelude::*;
use crate::testing::{Outcome, TestConsumer};

#[derive(Deserialize, IdempotencyKey)]
struct Order {
    #[idempotency_key]
    id: u64,
}

/// A limit that another service knows.
struct Limit<'d>(&'d str);

impl<'d> Extract<'d> for Limit<'d> {
    async fn extract(call: &mut Call<'d>) -> Result<Self, ExtractError> {
        tokio::time::sleep(*call.state::<Duration>()?).await;
        call.delivery().property("limit").map(Self).ok_or_else(|| ExtractError::new(Reject::new("no limit")))
    }
}

/// The same without borrowing from the call, for handlers without the attribute and for batches.
struct Ready;

impl Extract<'_> for Ready {
    async fn extract(call: &mut Call<'_>) -> Result<Self, ExtractError> {
        Limit::extract(call).await.map(|_| Self)
    }
}

impl BatchExtract<'_> for Ready {
    async fn extract(call: &mut BatchCall<'_>) -> Result<Self, ExtractError> {
        tokio::time::sleep(*call.state::<Duration>()?).await;
        Ok(Self)
    }
}

#[idempotent(key = "id", topic = "orders", timeout = "2s")]
async fn pay(
    order: Order,
    delivery: &Delivery,
    Limit(limit): Limit<'_>,
    _: State<Duration>,
) -> HandlerResult {
    assert_eq!((order.id, limit, delivery.topic()), (7, "100", "orders"));
    Ok(())
}

fn consumer(route: Route, delay: Duration) -> TestConsumer {
    let builder = Consumer::builder("campaign").store(MemoryStore::new()).state(delay);
    builder.handlers([route.timeout(Duration::from_secs(2))]).test().unwrap()
}

/// Of a message with a limit after this delay.
async fn outcome(route: Route, delay: u64) -> Outcome {
    let delivery = Delivery::builder("orders").body(r#"{"id":7}"#).property("limit", "100");
    consumer(route, Duration::from_secs(delay)).deliver(delivery.build()).await.outcome
}

#[tokio::test(start_paused = true)]
async fn an_extractor_waits_within_its_runs_time() {
    let attributed = || handlers![pay].remove(0);
    let plain = || handler("orders", async |_: Order, _: Ready| {}).key(Order::idempotency_key);
    let batch = || batch_handler("orders", async |_: Vec<Order>, _: Ready| {}).key(Order::idempotency_key);
    for route in [attributed, plain, batch] {
        assert_eq!(outcome(route(), 1).await, Outcome::Completed);
        assert_eq!(outcome(route(), 3).await, Outcome::TimedOut);
    }
    let unlimited = Delivery::builder("orders").body(r#"{"id":7}"#).build();
    let decision = consumer(attributed(), Duration::from_secs(1)).deliver(unlimited).await;
    assert_eq!(decision.outcome, Outcome::Rejected);
}

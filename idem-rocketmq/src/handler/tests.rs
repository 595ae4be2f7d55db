use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use idem_core::{Disposition, Lease};

use super::CallContext;
use crate::prelude::*;
use crate::{Delivery, HandlerResult, States, handlers};

#[derive(Clone, Default)]
struct Gmv(Arc<AtomicI64>);

#[derive(Deserialize)]
struct OrderPaid {
    order_id: String,
    amount: i64,
}

/// Adds.
#[idempotent(key = "order_id", topic = "orders", tag = "PAID")]
async fn add_gmv(order: OrderPaid, State(gmv): State<Gmv>) -> HandlerResult {
    gmv.0.fetch_add(order.amount, Ordering::Relaxed);
    Ok(())
}

#[idempotent(key = order_id, topic = "orders")]
async fn by_reference(order: OrderPaid, delivery: &Delivery, attempt: Attempt) -> Result<(), Reject> {
    assert_eq!(delivery.topic(), "orders");
    assert_eq!(attempt.number(), 2);
    Err(Reject::new(order.order_id))
}

fn context(delivery: &Arc<Delivery>, states: States) -> CallContext {
    CallContext {
        delivery: Arc::clone(delivery),
        states: Arc::new(states),
        lease: Lease::detached(),
        attempt: Attempt::new(2, 16),
    }
}

async fn run(route: &Route, delivery: Delivery, states: States) -> HandlerResult {
    let delivery = Arc::new(delivery);
    let prepared = route.handler().prepare(&delivery).unwrap();
    prepared.run.call(context(&delivery, states)).await
}

fn order() -> Delivery {
    Delivery::builder("orders").tag("PAID").body(r#"{"order_id":"o-7","amount":5}"#).build()
}

#[tokio::test]
async fn an_annotated_function_is_called_with_payload_and_state() {
    let [route, other] = <[Route; 2]>::try_from(handlers![add_gmv, by_reference]).unwrap();
    assert_eq!(route.name(), "idem_rocketmq::handler::tests::add_gmv");
    let mut states = States::new();
    let gmv = Gmv::default();
    states.insert(gmv.clone());
    run(&route, order(), states).await.unwrap();
    assert_eq!(gmv.0.load(Ordering::Relaxed), 5);
    let prepared = route.handler().prepare(&Arc::new(order())).unwrap();
    assert_eq!(prepared.key, IdempotencyKey::new("o-7"));

    let error = run(&other, order(), States::new()).await.unwrap_err();
    assert_eq!(error.disposition(), Disposition::Reject);
}

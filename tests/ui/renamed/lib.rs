//! A program that knows idem as `mq`: what the macros write must name it so.

use mq::KeyPart;
use mq::codec::Bytes;
use mq::prelude::*;

/// The key of an order.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, KeyPart)]
#[key_part(crate = ::mq)]
pub struct OrderId(pub u64);

/// A message that has its own key.
#[derive(Debug, Clone, Serialize, Deserialize, IdempotencyKey, Message)]
#[idempotency_key(crate = "::mq")]
#[message(crate = "mq", topic = "orders")]
pub struct Order {
    /// Its key.
    #[idempotency_key]
    pub id: OrderId,
}

#[idempotent(crate = ::mq, topic = "orders")]
async fn pay(order: Order) {
    println!("{}", order.id.0);
}

#[idempotent(topic = "orders", batch, crate = "mq")]
async fn index(orders: Vec<Order>) {
    println!("{}", orders.len());
}

/// The handlers' names.
pub fn handlers() -> Vec<String> {
    handlers![pay, self::index].iter().map(|route| format!("{route:?}")).collect()
}

/// The body of an order as it is sent.
pub fn body(id: u64) -> Option<Bytes> {
    Order { id: OrderId(id) }.to_outgoing().body().cloned()
}

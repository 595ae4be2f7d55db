//! The consumer: handlers, a store and a consumer group.

mod builder;
mod check;
mod named;
mod plan;
mod running;
mod setup;
mod transactions;
mod warnings;

pub use self::builder::{Builder, HasStore, NoStoreYet};
#[cfg(test)]
pub(crate) use self::plan::Plan;
pub use self::running::RunningConsumer;
pub use crate::client::{ConsumeFrom, MessageTrace};

/// A consumer of a RocketMQ consumer group, in which each key's work is done once.
///
/// ```no_run
/// use idem_rocketmq::prelude::*;
/// # #[derive(serde::Deserialize)] struct OrderPaid { order_id: String }
/// #[idempotent(key = "order_id", topic = "orders", tag = "PAID")]
/// async fn add_gmv(order: OrderPaid) -> HandlerResult {
///     println!("paid: {}", order.order_id);
///     Ok(())
/// }
///
/// #[tokio::main]
/// async fn main() -> Result<(), idem_rocketmq::Error> {
///     Consumer::builder("campaign")
///         .name_server("127.0.0.1:9876")
///         .store(MemoryStore::new())
///         .handlers(handlers![add_gmv])
///         .run()
///         .await
/// }
/// ```
#[derive(Debug)]
pub struct Consumer(());

impl Consumer {
    /// A consumer of the group `group`.
    pub fn builder(group: impl Into<String>) -> Builder {
        Builder::new(group.into())
    }
}

#![doc = include_str!("docs/testing.md")]

mod broker;
mod store;

#[cfg(test)]
mod doubts;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use futures_util::future::join_all;
use idem_core::Clock;
use idem_core::engine::Engine;
use tokio::runtime::Handle;

pub use self::store::TestStore;
pub use idem_core::{Decision, Outcome, Verdict};

use self::broker::TestBroker;
use crate::Error;
use crate::client::{self, Delivery, Queue};
use crate::consumer::{Builder, HasStore};
use crate::listener::{Bridge, Broker};

/// A consumer without a broker: it takes deliveries by hand and says what it would tell the broker.
///
/// Messages go the way that they go in production, from the listener call to the copy that a broker would store.
pub struct TestConsumer {
    bridge: Arc<Bridge>,
    broker: Arc<TestBroker>,
}

impl<S> Builder<S> {
    /// The consumer without a broker, for tests of handlers. Name servers and credentials are not looked at.
    ///
    /// Inside of a tokio runtime, leases, time-outs and delays go by the runtime's clock, so that a test which pauses the time
    /// moves them; [`TestStore`] and what it forgets go by it, too. The consumer lives on that runtime: make one in each test.
    ///
    /// # Errors
    /// The same as those of [`check`](Self::check).
    pub fn test(self) -> Result<TestConsumer, Error>
    where
        S: HasStore,
    {
        let (plan, store) = self.plan_without_broker()?;
        let (engine, user) = match Handle::try_current() {
            Ok(user) => (Engine::with(store, Clock::tokio(), user.clone()), user),
            Err(_) => (Engine::new(store), idem_core::runtime::handle().clone()),
        };
        let group = plan.group().into();
        let bridge = Arc::new(Bridge::new(group, plan.dispatch(&engine, None), engine, user));
        let broker = Arc::new(TestBroker::new(bridge.group.clone()));
        bridge.connect(&(broker.clone() as Arc<dyn Broker>));
        Ok(TestConsumer { bridge, broker })
    }
}

impl TestConsumer {
    /// Delivers one message through the whole glue: it is routed, decoded, keyed, claimed, run and settled.
    ///
    /// Where the decision is a retry or a dead letter, the broker counts as having stored it: see
    /// [`retries`](Self::retries) and [`dead_letters`](Self::dead_letters).
    ///
    /// # Cancel safety
    /// As that of [`deliver_all`](Self::deliver_all).
    pub async fn deliver(&self, delivery: impl Into<Arc<Delivery>>) -> Decision {
        self.deliver_all([delivery.into()]).await.remove(0)
    }

    /// Delivers messages together, as a broker does under load: those of one queue in one listener call, beside those of others.
    /// A batch handler gets what it may get of them in one call, and duplicates among them wait for the first of their key. The
    /// decisions are in the messages' order.
    ///
    /// Where order is kept, a message that is to be tried again keeps those behind it waiting. They are not run; their decision
    /// is [`Verdict::Leave`] with [`Outcome::Waiting`], because they come again behind it. [`Verdict::Leave`] is also decided for a
    /// message that is held, because more than half of its handler's last 100 messages could not be handled.
    ///
    /// # Cancel safety
    /// When the future is dropped, the messages are left to the broker. A handler that has begun goes on in its own task.
    pub async fn deliver_all<D: Into<Arc<Delivery>>>(
        &self,
        deliveries: impl IntoIterator<Item = D>,
    ) -> Vec<Decision> {
        let deliveries: Vec<Arc<Delivery>> = deliveries.into_iter().map(Into::into).collect();
        let mut queues: HashMap<Queue, Vec<usize>> = HashMap::new();
        for (place, delivery) in deliveries.iter().enumerate() {
            queues.entry(self.queue(delivery)).or_default().push(place);
        }
        let calls = queues.iter().map(async |(queue, places)| {
            let messages: Vec<_> = places.iter().map(|place| client::received(&deliveries[*place])).collect();
            (places, self.bridge.deliver(&messages, queue).await)
        });
        let mut decisions: Vec<(usize, Decision)> = Vec::with_capacity(deliveries.len());
        for (places, decided) in join_all(calls).await {
            decisions.extend(places.iter().copied().zip(decided));
        }
        decisions.sort_by_key(|(place, _)| *place);
        decisions.into_iter().map(|(_, decision)| decision).collect()
    }

    /// The messages that are to be tried again, each as it would come: to be given to [`deliver`](Self::deliver) when their
    /// time has come. Takes them out.
    ///
    /// Where order is kept, or the group is broadcast, nothing is sent back: the same delivery comes again.
    pub fn retries(&self) -> Vec<Delivery> {
        self.broker.retries()
    }

    /// The dead letters so far, each with the properties that say why: `IDEM_OUTCOME`, `IDEM_REASON`, `IDEM_ATTEMPTS` and
    /// `IDEM_KEY`.
    pub fn dead_letters(&self) -> Vec<Delivery> {
        self.broker.dead_letters()
    }

    /// Stops, as a shutdown whose drain is over: handlers under way are cancelled, their keys are given back without counting an
    /// attempt, and later messages are left to the broker.
    pub fn shut_down(&self) {
        self.bridge.engine.stop();
    }

    /// The queue that a message comes from. A retry comes from the group's own.
    fn queue(&self, delivery: &Delivery) -> Queue {
        let is_retry = delivery.reconsume_times() > 0;
        let topic = if is_retry { &self.bridge.retry_topic } else { delivery.topic() };
        let queue = i32::try_from(delivery.queue()).unwrap_or(i32::MAX);
        Queue::from_parts(topic, delivery.broker(), queue)
    }
}

impl fmt::Debug for TestConsumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let handlers = self.bridge.dispatch.handlers().len();
        f.debug_struct("TestConsumer").field("handlers", &handlers).finish_non_exhaustive()
    }
}

use std::any::type_name;
use std::fmt;
use std::sync::Arc;

use idem_core::{IntoKey, UncertainRun};

use super::batch::{BatchBound, BatchHandler};
use super::doubt::{BoundCheck, Check, ErasedCheck};
use super::erased::{KeyBy, KeyOf, Typed, Work};
use super::plain::Bound;
use super::{Handler, KeySource, Route};
use crate::codec::{Codec, Json};

/// A handler for the JSON messages of a topic.
///
/// `#[idempotent]` writes this call for you. The next call says where the key is: [`Unkeyed::key`] or
/// [`Unkeyed::key_from`].
///
/// ```
/// use idem_rocketmq::prelude::*;
///
/// #[derive(serde::Deserialize)]
/// struct OrderPaid { order_id: String, amount: i64 }
///
/// async fn add_gmv(order: OrderPaid, State(rate): State<i64>) -> HandlerResult {
///     println!("{}", order.amount * rate);
///     Ok(())
/// }
///
/// let route = handler("orders", add_gmv).key(|order| order.order_id.clone()).tag("PAID");
/// ```
pub fn handler<P, H, M>(topic: impl Into<String>, handler: H) -> Unkeyed<P>
where
    H: Handler<P, M>,
    Json: Codec<P>,
    P: Send + 'static,
    M: 'static,
{
    handler_with(topic, Json, handler)
}

/// A handler for the messages of a topic, with a codec.
///
/// ```
/// use idem_rocketmq::codec::Text;
/// use idem_rocketmq::handler::{KeySource, handler_with};
/// use idem_rocketmq::prelude::*;
///
/// let route = handler_with("lines", Text, |line: String| async move { println!("{line}") })
///     .key_from(KeySource::MessageKeys);
/// ```
pub fn handler_with<P, H, M>(topic: impl Into<String>, codec: impl Codec<P>, handler: H) -> Unkeyed<P>
where
    H: Handler<P, M>,
    P: Send + 'static,
    M: 'static,
{
    let work = Work::Each(Arc::new(Bound::new(handler)));
    Unkeyed::new(topic.into(), type_name::<H>(), Box::new(codec), work)
}

/// A handler that takes many of a topic's JSON messages at once.
///
/// `#[idempotent(.., batch)]` writes this call for you; [`BatchHandler`] says what the handler gets and returns.
///
/// ```
/// use idem_rocketmq::batch_handler;
/// use idem_rocketmq::prelude::*;
///
/// #[derive(Deserialize)]
/// struct OrderPaid { order_id: String, amount: i64 }
///
/// async fn index(orders: Vec<OrderPaid>, State(rate): State<i64>) -> HandlerResult {
///     println!("{}", orders.iter().map(|order| order.amount * rate).sum::<i64>());
///     Ok(())
/// }
///
/// let route = batch_handler("orders", index).key(|order| order.order_id.clone()).tag("PAID").max_batch(20);
/// ```
pub fn batch_handler<P, H, M>(topic: impl Into<String>, handler: H) -> Unkeyed<P>
where
    H: BatchHandler<P, M>,
    Json: Codec<P>,
    P: Send + 'static,
    M: 'static,
{
    batch_handler_with(topic, Json, handler)
}

/// A handler that takes many messages of a topic at once, with a codec for each of them.
///
/// ```
/// use idem_rocketmq::codec::Text;
/// use idem_rocketmq::handler::{KeySource, batch_handler_with};
/// use idem_rocketmq::prelude::*;
///
/// let route = batch_handler_with("lines", Text, |lines: Vec<String>| async move { println!("{}", lines.join("\n")) })
///     .key_from(KeySource::MessageKeys);
/// ```
pub fn batch_handler_with<P, H, M>(topic: impl Into<String>, codec: impl Codec<P>, handler: H) -> Unkeyed<P>
where
    H: BatchHandler<P, M>,
    P: Send + 'static,
    M: 'static,
{
    let work = Work::Together(Arc::new(BatchBound::new(handler)));
    Unkeyed::new(topic.into(), type_name::<H>(), Box::new(codec), work)
}

/// A handler that does not yet say what its idempotency key is.
#[must_use = "a handler needs a key: call `.key(..)` or `.key_from(..)`"]
pub struct Unkeyed<P> {
    topic: String,
    name: &'static str,
    codec: Box<dyn Codec<P>>,
    order_by: Option<Box<KeyOf<P>>>,
    check: Option<Arc<dyn ErasedCheck<P>>>,
    work: Work<P>,
}

impl<P: Send + 'static> Unkeyed<P> {
    fn new(topic: String, name: &'static str, codec: Box<dyn Codec<P>>, work: Work<P>) -> Self {
        Self { topic, name, codec, order_by: None, check: None, work }
    }

    /// The key is in the payload, or computed from it.
    ///
    /// ```
    /// use idem_rocketmq::prelude::*;
    /// # #[derive(serde::Deserialize, IdempotencyKey)]
    /// # struct Order { tenant: String, #[idempotency_key] id: u64 }
    /// # async fn pay(_: Order) {}
    ///
    /// let one = handler("orders", pay).key(|order| order.id);
    /// let composite = handler("orders", pay).key(|order| (order.tenant.clone(), order.id));
    /// let borrowed = handler("orders", pay).key(|order| IdempotencyKey::new(&order.tenant));
    /// let derived = handler("orders", pay).key(Order::idempotency_key);
    /// ```
    pub fn key<K: IntoKey>(self, key: impl Fn(&P) -> K + Send + Sync + 'static) -> Route {
        self.keyed(KeyBy::Payload(Box::new(move |payload| key(payload).into_key())))
    }

    /// The key is not in the payload but in the message around it.
    pub fn key_from(self, source: KeySource) -> Route {
        self.keyed(KeyBy::Delivery(source))
    }

    /// Consumes in order, as [`Route::orderly`] says, but keeps the order of messages with an equal value only: those
    /// with different ones run side by side, also within one queue. A message whose value is missing or empty keeps the
    /// order of its queue with others of that kind.
    ///
    /// Messages with one value must lie in one queue: send them so, as idem's producer does with the same option.
    ///
    /// ```
    /// use idem_rocketmq::prelude::*;
    /// # #[derive(serde::Deserialize)]
    /// # struct Order { buyer: u64, id: u64 }
    /// # async fn ship(_: Order) {}
    ///
    /// let route = handler("orders", ship).order_by(|order| order.buyer).key(|order| order.id);
    /// ```
    pub fn order_by<K: IntoKey>(mut self, key: impl Fn(&P) -> K + Send + Sync + 'static) -> Self {
        self.order_by = Some(Box::new(move |payload| key(payload).into_key()));
        self
    }

    /// Before the handler is run again after a run that ended without an answer, this is asked, under the lease and with as much
    /// time as the handler has: [`Happened::Yes`](super::Happened::Yes) completes the key without a run,
    /// [`No`](super::Happened::No) runs the handler, and [`Unknown`](super::Happened::Unknown) or an error asks again with the
    /// handler's backoff, up to `max_attempts` times; then the message is a dead letter. The guide has
    /// [a page about it](crate::guide::doubt).
    ///
    /// ```
    /// use idem_rocketmq::handler::Happened;
    /// use idem_rocketmq::extract::Doubt;
    /// use idem_rocketmq::prelude::*;
    ///
    /// #[derive(Deserialize)]
    /// struct Payout { id: u64 }
    ///
    /// async fn pay(_: Payout) -> HandlerResult {
    ///     Ok(())
    /// }
    ///
    /// async fn was_paid(payout: &Payout, doubt: &Doubt) -> Result<Happened, String> {
    ///     println!("payout {}: {doubt}", payout.id);
    ///     Ok(Happened::Unknown)
    /// }
    ///
    /// let route = handler("payouts", pay).check(was_paid).key(|payout| payout.id);
    /// ```
    pub fn check<C: Check<P, M>, M: 'static>(mut self, check: C) -> Self
    where
        P: Sync,
    {
        self.check = Some(Arc::new(BoundCheck::new(check)));
        self
    }

    fn keyed(self, key: KeyBy<P>) -> Route {
        let (is_orderly, has_check) = (self.order_by.is_some(), self.check.is_some());
        let Self { codec, order_by, check, work, .. } = self;
        let typed = Typed { codec, key, order_by, check, work };
        let route = Route::new(self.topic, self.name, Arc::new(typed));
        let route = if is_orderly { route.ordered_by_value() } else { route };
        if has_check { route.uncertain(UncertainRun::Check) } else { route }
    }
}

impl<P> fmt::Debug for Unkeyed<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unkeyed")
            .field("name", &self.name)
            .field("topic", &self.topic)
            .finish_non_exhaustive()
    }
}

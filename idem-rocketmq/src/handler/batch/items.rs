use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use idem_core::{Attempt, IdempotencyKey, Lease};

use crate::client::Delivery;
use crate::handler::CallContext;

/// The messages of one call of a batch handler: their payloads, and what else is known of each.
///
/// A handler that needs the payloads alone takes a `Vec` of them. There is no order between messages of a batch
/// beyond that in which they came.
///
/// ```
/// use idem_rocketmq::prelude::*;
///
/// #[derive(Deserialize)]
/// struct OrderPaid { order_id: String, amount_cents: i64 }
///
/// #[idempotent(key = "order_id", topic = "orders", batch)]
/// async fn index(orders: Batch<OrderPaid>) -> BatchResult {
///     let mut failures = BatchFailures::new();
///     for (place, order) in orders.iter().enumerate() {
///         println!("{} of attempt {}", order.order_id, order.attempt().number());
///         if order.amount_cents < 0 {
///             failures.add(place, Reject::new("a negative amount"));
///         }
///     }
///     Ok(failures)
/// }
/// # let _ = handlers![index];
/// ```
pub struct Batch<P>(Vec<BatchItem<P>>);

/// One message of a [`Batch`]. It dereferences to its payload.
///
/// Its lease is its own: where it is lost while the call goes on, this message is taken out of the call's verdict and
/// comes again, and the others are not touched. Ask [`lease`](Self::lease) before something that must not happen
/// twice.
pub struct BatchItem<P> {
    payload: P,
    delivery: Arc<Delivery>,
    key: Option<IdempotencyKey>,
    lease: Lease,
    attempt: Attempt,
}

impl<P> Batch<P> {
    pub(super) fn new(items: Vec<BatchItem<P>>) -> Self {
        Self(items)
    }

    /// The payloads alone, in their order.
    pub fn into_payloads(self) -> Vec<P> {
        self.into_iter().map(BatchItem::into_payload).collect()
    }
}

impl<P> BatchItem<P> {
    /// A message for a unit test of a handler: at its first attempt, under a lease that nobody holds.
    ///
    /// ```
    /// use idem_rocketmq::handler::BatchItem;
    /// use idem_rocketmq::prelude::*;
    ///
    /// let delivery = Delivery::builder("orders").tag("PAID").build();
    /// let batch: Batch<u64> = [BatchItem::new(7, delivery)].into_iter().collect();
    /// assert_eq!((batch.len(), *batch[0]), (1, 7));
    /// ```
    pub fn new(payload: P, delivery: impl Into<Arc<Delivery>>) -> Self {
        let (delivery, lease) = (delivery.into(), Lease::detached());
        Self { payload, delivery, key: None, lease, attempt: Attempt::new(1, 1) }
    }

    pub(super) fn of(payload: P, key: Option<IdempotencyKey>, context: CallContext) -> Self {
        let CallContext { delivery, lease, attempt, .. } = context;
        Self { payload, delivery, key, lease, attempt }
    }

    /// The payload.
    pub fn payload(&self) -> &P {
        &self.payload
    }

    /// The payload alone.
    pub fn into_payload(self) -> P {
        self.payload
    }

    /// The message.
    pub fn delivery(&self) -> &Arc<Delivery> {
        &self.delivery
    }

    /// The idempotency key, to be passed on; none where the message is handled without dedup.
    pub fn key(&self) -> Option<&IdempotencyKey> {
        self.key.as_ref()
    }

    /// Token and fence number to pass on, and whether the lease is lost.
    pub fn lease(&self) -> &Lease {
        &self.lease
    }

    /// Which attempt this is, and how many there are.
    pub fn attempt(&self) -> Attempt {
        self.attempt
    }
}

impl<P> Deref for BatchItem<P> {
    type Target = P;

    fn deref(&self) -> &P {
        &self.payload
    }
}

impl<P> Deref for Batch<P> {
    type Target = [BatchItem<P>];

    fn deref(&self) -> &[BatchItem<P>] {
        &self.0
    }
}

impl<P> IntoIterator for Batch<P> {
    type Item = BatchItem<P>;
    type IntoIter = std::vec::IntoIter<BatchItem<P>>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'b, P> IntoIterator for &'b Batch<P> {
    type Item = &'b BatchItem<P>;
    type IntoIter = std::slice::Iter<'b, BatchItem<P>>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl<P> FromIterator<BatchItem<P>> for Batch<P> {
    fn from_iter<I: IntoIterator<Item = BatchItem<P>>>(items: I) -> Self {
        Self(items.into_iter().collect())
    }
}

impl<P> fmt::Debug for Batch<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.0).finish()
    }
}

impl<P> fmt::Debug for BatchItem<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchItem")
            .field("delivery", &self.delivery)
            .field("attempt", &self.attempt)
            .finish_non_exhaustive()
    }
}

/// The first argument of a batch handler: `Vec<Payload>`, [`Batch<Payload>`](Batch), or, without the
/// attribute, a type of yours.
///
/// ```
/// use std::collections::HashMap;
/// use idem_rocketmq::codec::{Bytes, Raw};
/// use idem_rocketmq::handler::{FromBatch, KeySource, batch_handler_with};
/// use idem_rocketmq::prelude::*;
///
/// /// Payloads by the tag of their message.
/// struct ByTag(HashMap<String, Vec<Bytes>>);
///
/// impl FromBatch for ByTag {
///     type Payload = Bytes;
///
///     fn from_batch(batch: Batch<Bytes>) -> Self {
///         let mut by_tag: HashMap<_, Vec<_>> = HashMap::new();
///         for item in batch {
///             let tag = item.delivery().tag().unwrap_or_default().to_owned();
///             by_tag.entry(tag).or_default().push(item.into_payload());
///         }
///         Self(by_tag)
///     }
/// }
///
/// async fn count(lines: ByTag) {
///     println!("{} tags", lines.0.len());
/// }
///
/// let route = batch_handler_with("lines", Raw, count).key_from(KeySource::MessageKeys);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no batch of messages",
    label = "a batch handler takes many messages",
    note = "take `Vec<{Self}>` for payloads alone, or `Batch<{Self}>` for each one's delivery, attempt, lease and key too"
)]
pub trait FromBatch: Sized {
    /// The type to which each message's body is decoded.
    type Payload;

    /// The argument.
    fn from_batch(batch: Batch<Self::Payload>) -> Self;
}

impl<P> FromBatch for Batch<P> {
    type Payload = P;

    fn from_batch(batch: Self) -> Self {
        batch
    }
}

impl<P> FromBatch for Vec<P> {
    type Payload = P;

    fn from_batch(batch: Batch<P>) -> Self {
        batch.into_payloads()
    }
}

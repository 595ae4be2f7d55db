//! Messages to send.

use std::fmt;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use idem_core::outbox::TransactionId;
use idem_core::{IdempotencyKey, IntoKey, KeyError, KeyPart};

use super::key;
use crate::codec::{Encode, EncodeError, Json};

/// A value that a [`Producer`](super::Producer) can send.
///
/// Derive it with `#[derive(Message)]`, or make an [`OutgoingMessage`], which is one too.
///
/// ```
/// use idem_rocketmq::prelude::*;
///
/// #[derive(Serialize, Message)]
/// #[message(topic = "orders", tag = "PAID", key = "order_id", order_by = "buyer_id")]
/// struct OrderPaid { order_id: String, buyer_id: u64 }
///
/// let message = OrderPaid { order_id: "7".into(), buyer_id: 1 }.to_outgoing();
/// assert_eq!(message.topic(), "orders");
/// assert!(message.check().is_ok());
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be sent: it does not say its topic and its idempotency key",
    label = "no message",
    note = "derive it: `#[derive(Serialize, Message)]` with `#[message(topic = \"orders\", key = \"order_id\")]`",
    note = "or make one by hand: `OutgoingMessage::json(\"orders\", key, &payload)`"
)]
pub trait Message {
    /// The message as it goes to RocketMQ. What is wrong with it is said when it is sent.
    fn to_outgoing(&self) -> OutgoingMessage;
}

impl<M: Message + ?Sized> Message for &M {
    fn to_outgoing(&self) -> OutgoingMessage {
        (**self).to_outgoing()
    }
}

/// A message made by hand: topic, idempotency key and body, and what else RocketMQ knows of a message.
///
/// Sending the same value again sends it under the same key, so that idem's consumers handle it once. The key is
/// also put into RocketMQ's Keys, part by part, for looking messages up; what is no visible ASCII there is written
/// as `%` and two digits.
///
/// `Debug` shows neither the body nor the key nor the values of properties.
///
/// ```
/// use idem_rocketmq::prelude::*;
///
/// let message = OutgoingMessage::new("orders", "order-7", r#"{"order_id":"order-7"}"#)
///     .tag("PAID")
///     .order_by("buyer-1")
///     .property("source", "web");
/// assert!(message.check().is_ok());
/// ```
#[derive(Clone)]
#[must_use = "a message does nothing until a producer sends it"]
pub struct OutgoingMessage {
    pub(super) topic: String,
    pub(super) key: Result<IdempotencyKey, KeyError>,
    pub(super) body: Result<Bytes, EncodeError>,
    pub(super) tag: Option<String>,
    pub(super) order_by: Option<String>,
    pub(super) lookup_keys: Vec<String>,
    pub(super) properties: Vec<(String, String)>,
    pub(super) when: When,
    /// The local transaction whose marker decides over it.
    pub(super) transaction: Option<TransactionId>,
}

/// When consumers get a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    Now,
    After(Duration),
    At(SystemTime),
}

impl OutgoingMessage {
    /// A message with this body as it is.
    ///
    /// A key that is missing, empty or too long is an error when the message is sent.
    pub fn new(topic: impl Into<String>, key: impl IntoKey, body: impl Into<Bytes>) -> Self {
        Self::with(topic.into(), key.into_key(), Ok(body.into()))
    }

    /// A message whose body is the payload in JSON.
    ///
    /// ```
    /// use idem_rocketmq::prelude::*;
    ///
    /// #[derive(Serialize)]
    /// struct OrderPaid { order_id: String }
    ///
    /// let paid = OrderPaid { order_id: "order-7".into() };
    /// let message = OutgoingMessage::json("orders", paid.order_id.as_str(), &paid);
    /// # assert!(message.check().is_ok());
    /// ```
    pub fn json<T: serde::Serialize + ?Sized>(
        topic: impl Into<String>,
        key: impl IntoKey,
        payload: &T,
    ) -> Self {
        Self::encoded(topic, key, &Json, payload)
    }

    /// A message whose body is what the codec makes of the payload.
    pub fn encoded<T: ?Sized>(
        topic: impl Into<String>,
        key: impl IntoKey,
        codec: &impl Encode<T>,
        payload: &T,
    ) -> Self {
        Self::with(topic.into(), key.into_key(), codec.encode(payload))
    }

    fn with(topic: String, key: Result<IdempotencyKey, KeyError>, body: Result<Bytes, EncodeError>) -> Self {
        Self {
            topic,
            key,
            body,
            tag: None,
            order_by: None,
            lookup_keys: Vec::new(),
            properties: Vec::new(),
            when: When::Now,
            transaction: None,
        }
    }

    /// Sets the tag.
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.tag = Some(tag.into());
        self
    }

    /// Keeps the order among messages with an equal value here: they go to one message queue, chosen by the hash
    /// that Java's `SelectMessageQueueByHash` uses for a `String`.
    ///
    /// The order is that in which sends are awaited one after the other, and holds while the name server lists the same
    /// queues of the topic. While the queue's broker is away and still listed, the send waits for it instead of going
    /// elsewhere. A name server forgets a broker that was lost, or drops its queues when it may not be written to: the value
    /// then has another queue, and what is sent from there on may be consumed before what the lost broker has.
    #[allow(clippy::needless_pass_by_value, reason = "literals and numbers are given as they are")]
    pub fn order_by(mut self, value: impl KeyPart) -> Self {
        self.order_by = Some(value.key_part().map(|bytes| key::text(&bytes)).unwrap_or_default());
        self
    }

    /// Adds one of RocketMQ's Keys, by which brokers find messages, besides the idempotency key.
    pub fn lookup_key(mut self, key: impl Into<String>) -> Self {
        self.lookup_keys.push(key.into());
        self
    }

    /// Adds a property. A second value for one name replaces the first.
    pub fn property(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let (name, value) = (name.into(), value.into());
        match self.properties.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => *old = value,
            None => self.properties.push((name, value)),
        }
        self
    }

    /// The topic.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The idempotency key, if it is one.
    pub fn key(&self) -> Option<&IdempotencyKey> {
        self.key.as_ref().ok()
    }

    /// The body, if the payload could be encoded.
    pub fn body(&self) -> Option<&Bytes> {
        self.body.as_ref().ok()
    }

    pub(super) fn after(mut self, delay: Duration) -> Self {
        self.when = When::After(delay);
        self
    }

    pub(super) fn at(mut self, time: SystemTime) -> Self {
        self.when = When::At(time);
        self
    }
}

impl Message for OutgoingMessage {
    fn to_outgoing(&self) -> OutgoingMessage {
        self.clone()
    }
}

impl fmt::Debug for OutgoingMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let properties: Vec<_> = self.properties.iter().map(|(name, _)| name).collect();
        f.debug_struct("OutgoingMessage")
            .field("topic", &self.topic)
            .field("tag", &self.tag)
            .field("ordered", &self.order_by.is_some())
            .field("properties", &properties)
            .field("body_len", &self.body.as_ref().map_or(0, Bytes::len))
            .finish_non_exhaustive()
    }
}

use std::borrow::Cow;

use idem_core::{Fingerprint, IdempotencyKey, KeyError};

use crate::client::Delivery;
use crate::producer::key::PRODUCER_KEY;

/// Where the idempotency key is taken from, when it is not in the payload.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeySource {
    /// The keys that the producer set on the message, as one text.
    MessageKeys,
    /// The id that the producer's client gave, with a digest of the body.
    ///
    /// It recognises what the broker delivers again, and not what the producer sends again: a key of the
    /// business is better. The digest is there because some producers and brokers give one id to a whole
    /// batch of messages.
    UniqueKey,
    /// The key under which a [`Producer`](crate::Producer) of idem sent the message, whatever the payload is.
    ///
    /// A message of another producer has none, which is the policy `missing_key`. The records are those of a
    /// handler that takes the same key from its payload.
    ///
    /// ```
    /// use idem_rocketmq::codec::{Bytes, Raw};
    /// use idem_rocketmq::handler::{KeySource, handler_with};
    /// use idem_rocketmq::prelude::*;
    ///
    /// #[idempotent(key_from = producer_key, topic = "orders")]
    /// async fn count(_: Bytes) {}
    ///
    /// let same = handler_with("orders", Raw, |_: Bytes| async {}).key_from(KeySource::ProducerKey);
    /// ```
    ProducerKey,
    /// A property of the message.
    Property(Cow<'static, str>),
}

impl KeySource {
    /// A property of the message.
    pub fn property(name: impl Into<Cow<'static, str>>) -> Self {
        Self::Property(name.into())
    }

    pub(super) fn key(&self, delivery: &Delivery) -> Result<IdempotencyKey, KeyError> {
        match self {
            Self::MessageKeys => IdempotencyKey::new(delivery.keys().map(str::trim)),
            Self::UniqueKey => {
                let digest = Fingerprint::of(delivery.body()).to_bytes();
                IdempotencyKey::from_parts(&[&delivery.unique_key(), &digest])
            }
            Self::ProducerKey => match delivery.property(PRODUCER_KEY) {
                Some(text) => crate::producer::key::decode(text),
                None => Err(KeyError::Missing { part: 1 }),
            },
            Self::Property(name) => IdempotencyKey::new(delivery.property(name)),
        }
    }
}

use std::borrow::Cow;

use idem_core::{Fingerprint, IdempotencyKey, KeyError};

use crate::delivery::Delivery;

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
            Self::Property(name) => IdempotencyKey::new(delivery.property(name)),
        }
    }
}

//! The message that a marker carries.

use std::fmt;

use bytes::Bytes;

use super::TransactionId;
use crate::key::{IdempotencyKey, Namespace, RecordKey};

/// A message as an outbox keeps it, with all that is needed to send it again.
///
/// `Debug` shows neither the body nor the keys nor the values of properties.
#[derive(Clone, PartialEq, Eq)]
pub struct OutboxMessage {
    /// The transaction that it belongs to.
    pub id: TransactionId,
    /// The topic.
    pub topic: String,
    /// The tag.
    pub tag: Option<String>,
    /// The keys by which brokers find the message.
    pub lookup_keys: Option<String>,
    /// The value that chooses the message's queue.
    pub order_by: Option<String>,
    /// The other properties. Neither names nor values have the characters 1 and 2.
    pub properties: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
}

impl OutboxMessage {
    /// Under which key only one transaction is ever committed: as consumers take it, a key counts in its topic and tag.
    pub fn record_key(&self, key: &IdempotencyKey) -> RecordKey {
        let tag = self.tag.as_deref().unwrap_or_default();
        RecordKey::new(Namespace::new([self.topic.as_str(), tag]), key.clone())
    }
}

impl fmt::Debug for OutboxMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutboxMessage")
            .field("id", &self.id)
            .field("topic", &self.topic)
            .field("tag", &self.tag)
            .finish_non_exhaustive()
    }
}

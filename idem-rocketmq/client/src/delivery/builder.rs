use std::time::SystemTime;

use bytes::Bytes;
use cheetah_string::CheetahString;

use super::{Delivery, KEYS, Properties, TAGS, UNIQ_KEY};

/// Makes a [`Delivery`]; see [`Delivery::builder`].
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct DeliveryBuilder(Delivery);

impl DeliveryBuilder {
    pub(super) fn new(topic: String) -> Self {
        Self(Delivery {
            group: CheetahString::new(),
            topic: topic.into(),
            message_id: CheetahString::new(),
            broker: CheetahString::new(),
            queue: 0,
            offset: 0,
            reconsume_times: 0,
            born_at: SystemTime::UNIX_EPOCH,
            stored_at: SystemTime::UNIX_EPOCH,
            properties: Properties::default(),
            body: Bytes::new(),
            unreadable: None,
        })
    }

    /// The consumer group.
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.0.group = group.into().into();
        self
    }

    /// The tag.
    pub fn tag(self, tag: impl Into<String>) -> Self {
        self.property(TAGS, tag)
    }

    /// The keys, separated by spaces.
    pub fn keys(self, keys: impl Into<String>) -> Self {
        self.property(KEYS, keys)
    }

    /// The id of the message's place in the broker's log.
    pub fn message_id(mut self, id: impl Into<String>) -> Self {
        self.0.message_id = id.into().into();
        self
    }

    /// The id that the producer's client gave.
    pub fn unique_key(self, key: impl Into<String>) -> Self {
        self.property(UNIQ_KEY, key)
    }

    /// The message queue: its broker's name, and its number there.
    pub fn queue(mut self, broker: impl Into<String>, queue: u32) -> Self {
        self.0.broker = broker.into().into();
        self.0.queue = queue;
        self
    }

    /// The offset in the queue.
    pub fn offset(mut self, offset: u64) -> Self {
        self.0.offset = offset;
        self
    }

    /// How often the broker has delivered the message again.
    pub fn reconsume_times(mut self, times: u32) -> Self {
        self.0.reconsume_times = times;
        self
    }

    /// When the producer made the message.
    pub fn born_at(mut self, time: SystemTime) -> Self {
        self.0.born_at = time;
        self
    }

    /// When the broker stored the message.
    pub fn stored_at(mut self, time: SystemTime) -> Self {
        self.0.stored_at = time;
        self
    }

    /// One property; `TAGS`, `KEYS` and `UNIQ_KEY` are the tag, the keys and the unique key.
    pub fn property(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.0.properties.set(name.into().into(), value.into().into());
        self
    }

    /// Many properties.
    pub fn properties<N: Into<String>, V: Into<String>>(
        self,
        properties: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        properties.into_iter().fold(self, |builder, (name, value)| builder.property(name, value))
    }

    /// The payload.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.0.body = body.into();
        self
    }

    /// The delivery.
    pub fn build(self) -> Delivery {
        self.0
    }
}

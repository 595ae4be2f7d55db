//! A message as it was delivered.

use std::fmt;
use std::time::SystemTime;

use bytes::Bytes;
use cheetah_string::CheetahString;

pub use self::builder::DeliveryBuilder;
pub(crate) use self::properties::Properties;

mod builder;
mod properties;

/// The property that holds a message's tag.
const TAGS: &str = "TAGS";
/// The property that holds a message's keys.
const KEYS: &str = "KEYS";
/// The property that holds the id which the producer gave.
const UNIQ_KEY: &str = "UNIQ_KEY";

/// One delivery of one message: its payload and everything that RocketMQ says about it.
///
/// A handler takes it as `&Delivery` or, to keep it, as `Arc<Delivery>`. A unit test makes one with
/// [`Delivery::builder`].
///
/// `Debug` shows neither the body nor the keys nor the values of properties.
///
/// ```
/// # mod idem_rocketmq { pub use idem_rocketmq_client as extract; }
/// use idem_rocketmq::extract::Delivery;
///
/// let delivery = Delivery::builder("orders").tag("PAID").body("{}").property("tenant", "a").build();
/// assert_eq!(delivery.tag(), Some("PAID"));
/// assert_eq!(delivery.property("tenant"), Some("a"));
/// ```
// The texts are the client's own, which are shared and not copied: a delivery is made for each message.
#[derive(Clone)]
pub struct Delivery {
    pub group: CheetahString,
    pub topic: CheetahString,
    pub message_id: CheetahString,
    pub broker: CheetahString,
    pub queue: u32,
    pub offset: u64,
    pub reconsume_times: u32,
    pub born_at: SystemTime,
    pub stored_at: SystemTime,
    pub properties: Properties,
    pub body: Bytes,
    /// Why it cannot be handled, whatever its handler is; the body is as the broker has it then.
    pub unreadable: Option<Box<str>>,
}

impl Delivery {
    /// A delivery made by hand, for unit tests.
    pub fn builder(topic: impl Into<String>) -> DeliveryBuilder {
        DeliveryBuilder::new(topic.into())
    }

    /// The consumer group that the message was delivered to.
    pub fn group(&self) -> &str {
        &self.group
    }

    /// The topic that the message was sent to, also where this delivery is a retry.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The tag.
    pub fn tag(&self) -> Option<&str> {
        self.property(TAGS)
    }

    /// The keys that the producer set, separated by spaces.
    pub fn keys(&self) -> Option<&str> {
        self.property(KEYS)
    }

    /// The id of the message's place in the broker's log. Every redelivery has another one.
    pub fn message_id(&self) -> &str {
        &self.message_id
    }

    /// The id that the producer's client gave (`UNIQ_KEY`). It stays the same in redeliveries, and a producer
    /// that sends the message again gives another one.
    pub fn unique_key(&self) -> Option<&str> {
        self.property(UNIQ_KEY)
    }

    /// The name of the broker that the message came from.
    pub fn broker(&self) -> &str {
        &self.broker
    }

    /// The number of the message queue that the message came from.
    pub fn queue(&self) -> u32 {
        self.queue
    }

    /// The message's offset in its queue.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// How often the broker has delivered the message again. idem counts attempts by itself: see
    /// the extractor `Attempt`.
    pub fn reconsume_times(&self) -> u32 {
        self.reconsume_times
    }

    /// When the producer made the message, by its clock.
    pub fn born_at(&self) -> SystemTime {
        self.born_at
    }

    /// When the broker stored the message, by its clock.
    pub fn stored_at(&self) -> SystemTime {
        self.stored_at
    }

    /// The value of a property, RocketMQ's own ones included.
    pub fn property(&self, name: &str) -> Option<&str> {
        self.properties.get(name)
    }

    /// All properties in the order of their names, RocketMQ's own ones included.
    pub fn properties(&self) -> impl Iterator<Item = (&str, &str)> {
        self.properties.by_name().into_iter()
    }

    /// The payload's bytes.
    pub fn body(&self) -> &Bytes {
        &self.body
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("group", &self.group)
            .field("topic", &self.topic)
            .field("tag", &self.tag())
            .field("message_id", &self.message_id)
            .field("unique_key", &self.unique_key())
            .field("broker", &self.broker)
            .field("queue", &self.queue)
            .field("offset", &self.offset)
            .field("reconsume_times", &self.reconsume_times)
            .field("properties", &self.properties)
            .field("body_len", &self.body.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_body_no_keys_and_no_values_of_properties() {
        let delivery = Delivery::builder("orders")
            .tag("PAID")
            .keys("secret-key")
            .property("card", "secret-card")
            .body("secret-body")
            .build();
        let text = format!("{delivery:?}");
        assert!(text.contains("PAID") && text.contains("card") && !text.contains("secret"), "{text}");
    }

    #[test]
    fn what_a_builder_leaves_out_is_plain() {
        let delivery = Delivery::builder("orders").build();
        assert_eq!((delivery.tag(), delivery.keys(), delivery.unique_key()), (None, None, None));
        assert_eq!((delivery.queue(), delivery.offset(), delivery.reconsume_times()), (0, 0, 0));
        assert!(delivery.body().is_empty());
    }
}

//! Faults of a message, found before it is sent: the client says `argument is invalid` for all of them.

use std::time::Duration;

use idem_core::KeyError;
use idem_core::clock::LONGEST;

use super::message::{OutgoingMessage, When};
use crate::client::{PROPERTIES_BYTES, names};
use crate::codec::EncodeError;

/// Apache's brokers and the client take up to 4 MiB as they come.
pub(super) const MAX_MESSAGE_SIZE: usize = 4 << 20;

/// Why a message cannot be sent as it is.
///
/// The text says what to change and shows neither the body nor the key nor a property's value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageFault {
    /// RocketMQ does not accept the topic.
    #[error("the topic `{topic}` {fault}: a topic has 1 to 127 of the characters a-z A-Z 0-9 _ - % |")]
    Topic {
        /// The topic.
        topic: String,
        /// The fault, in words.
        fault: &'static str,
    },
    /// RocketMQ does not accept the tag.
    #[error("the tag `{tag}` {fault}: a message has one tag without spaces, or none")]
    Tag {
        /// The tag.
        tag: String,
        /// The fault, in words.
        fault: &'static str,
    },
    /// There is no idempotency key.
    #[error("{0}")]
    Key(KeyError),
    /// The payload has no form in its codec.
    #[error("its body cannot be made: {0}")]
    Encode(EncodeError),
    /// The body has no bytes.
    #[error("its body is empty, which RocketMQ refuses: send at least one byte")]
    EmptyBody,
    /// The body has more bytes than the producer sends.
    #[error(
        "its body has {len} bytes, and the producer sends at most {most}: send a reference to it, or raise `.max_message_size(..)` here and `maxMessageSize` at the broker"
    )]
    TooLarge {
        /// The body's length.
        len: usize,
        /// The most that is sent.
        most: usize,
    },
    /// The value to order by is missing or empty.
    #[error("the value that it is ordered by is empty: give one, or leave `order_by` out")]
    EmptyOrder,
    /// One of the Keys is empty or has a character that ends it.
    #[error("one of its lookup keys {fault}: RocketMQ separates them with spaces")]
    LookupKey {
        /// The fault, in words.
        fault: &'static str,
    },
    /// A property's name or value cannot be sent.
    #[error("its property `{name}` {fault}")]
    Property {
        /// The property's name.
        name: String,
        /// The fault, in words.
        fault: &'static str,
    },
    /// All properties together are too long.
    #[error(
        "its properties, with key and tag, have {len} bytes, and brokers take {most}: move some into the body"
    )]
    PropertiesTooLong {
        /// Their length.
        len: usize,
        /// The most that brokers take.
        most: usize,
    },
    /// The delay cannot be asked for by level.
    #[error(
        "its delay is longer than the longest of the broker's delay levels: use `.delay_by(DelayBy::Timer)`, or tell the levels with `.delay_levels(..)`"
    )]
    Delay,
    /// The delay has no end.
    #[error("its delay is longer than a hundred years: give it one that a broker can count")]
    EndlessDelay,
}

impl OutgoingMessage {
    /// Looks for everything that would be refused when the message is sent: to be called in a unit test.
    ///
    /// # Errors
    /// RocketMQ, or a producer with its defaults, does not accept the message.
    pub fn check(&self) -> Result<(), MessageFault> {
        self.check_for(MAX_MESSAGE_SIZE, Duration::MAX)
    }

    pub(super) fn check_for(&self, most: usize, longest_delay: Duration) -> Result<(), MessageFault> {
        check_topic(&self.topic)?;
        if let Some(tag) = &self.tag
            && let Some(fault) = names::tag_fault(tag)
        {
            return Err(MessageFault::Tag { tag: tag.clone(), fault });
        }
        self.key.as_ref().map_err(|error| MessageFault::Key(error.clone()))?;
        let body = self.body.as_ref().map_err(|error| MessageFault::Encode(error.clone()))?;
        match body.len() {
            0 => return Err(MessageFault::EmptyBody),
            len if len > most => return Err(MessageFault::TooLarge { len, most }),
            _ => {}
        }
        if self.order_by.as_deref() == Some("") {
            return Err(MessageFault::EmptyOrder);
        }
        self.lookup_keys.iter().try_for_each(|key| check_lookup_key(key))?;
        self.properties.iter().try_for_each(|(name, value)| check_property(name, value))?;
        if self.delay() > LONGEST {
            return Err(MessageFault::EndlessDelay);
        }
        if self.delay() > longest_delay {
            return Err(MessageFault::Delay);
        }
        let len = self.all_properties().iter().map(|(name, value)| name.len() + value.len() + 2).sum();
        if len > PROPERTIES_BYTES {
            return Err(MessageFault::PropertiesTooLong { len, most: PROPERTIES_BYTES });
        }
        Ok(())
    }

    /// How long from now.
    fn delay(&self) -> Duration {
        match self.when {
            When::Now => Duration::ZERO,
            When::After(delay) => delay,
            When::At(time) => time.duration_since(std::time::SystemTime::now()).unwrap_or_default(),
        }
    }
}

fn check_topic(topic: &str) -> Result<(), MessageFault> {
    let of_a_group = topic.starts_with("%RETRY%") || topic.starts_with("%DLQ%");
    let reserved = of_a_group.then_some("belongs to a consumer group");
    match names::topic_fault(topic).or(reserved) {
        Some(fault) => Err(MessageFault::Topic { topic: topic.to_owned(), fault }),
        None => Ok(()),
    }
}

fn check_lookup_key(key: &str) -> Result<(), MessageFault> {
    let fault = match key {
        "" => "is empty",
        _ if key.contains(|c: char| c.is_whitespace() || c.is_control()) => {
            "holds a space or a control character"
        }
        _ => return Ok(()),
    };
    Err(MessageFault::LookupKey { fault })
}

fn check_property(name: &str, value: &str) -> Result<(), MessageFault> {
    let separates = |text: &str| text.contains(['\u{1}', '\u{2}']);
    let reserved = names::is_reserved_property(name)
        || ["IDEM_", "TIMER_", "__", "%"].iter().any(|prefix| name.starts_with(prefix));
    let fault = match (name, value) {
        ("", _) => "has no name: give it one",
        (_, "") => "has no value: give it one, or leave the property out",
        _ if reserved => {
            "has a name that RocketMQ or idem keeps for itself: choose another one, or use the message's own methods for tag, keys and delay"
        }
        _ if separates(name) || separates(value) => {
            "holds the character 1 or 2, with which RocketMQ separates properties: take it out"
        }
        _ => return Ok(()),
    };
    Err(MessageFault::Property { name: name.escape_default().to_string(), fault })
}

//! From a message of idem's producer to the client's.

use std::time::Duration;

use bytes::Bytes;
use rocketmq_model::common::message::message_client_id_setter::MessageClientIDSetter;
use rocketmq_model::common::message::message_single::Message;
use rocketmq_model::common::message::{MessageConst as Name, MessageTrait as _};

use super::delay::Levels;

/// A message that has been checked.
pub(crate) struct Wire {
    /// Without namespace.
    pub(crate) topic: String,
    pub(crate) body: Bytes,
    /// All but those of a delay.
    pub(crate) properties: Vec<(String, String)>,
    pub(crate) delay: Option<Delay>,
    /// The hash that chooses the message queue.
    pub(crate) order: Option<i32>,
}

/// When consumers get a message, and how the broker is asked for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delay {
    /// By the smallest sufficient delay level.
    Level(Duration),
    /// By the broker's timer, from when it gets the message.
    For(Duration),
    /// By the broker's timer, in milliseconds since 1970.
    Until(u128),
}

impl Wire {
    /// Body and properties, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        let properties = self.properties.iter().map(|(name, value)| name.len() + value.len() + 2);
        self.body.len() + properties.sum::<usize>()
    }

    /// The client's message; `topic` is the name with namespace. Its `UNIQ_KEY` is set here, so that it stays the
    /// same when the message is sent again.
    pub(super) fn message(self, topic: String) -> Message {
        let mut message = Message::default();
        message.set_topic(topic.into());
        message.set_body(Some(self.body));
        let mut put = |name: String, value: String| message.put_property(name.into(), value.into());
        for (name, value) in self.properties {
            put(name, value);
        }
        if let Some((name, value)) = self.delay.and_then(Delay::property) {
            put(name.to_owned(), value);
        }
        MessageClientIDSetter::set_uniq_id(&mut message);
        message
    }
}

impl Delay {
    fn property(self) -> Option<(&'static str, String)> {
        match self {
            Self::Level(delay) | Self::For(delay) if delay.is_zero() => None,
            Self::Level(delay) => {
                Some((Name::PROPERTY_DELAY_TIME_LEVEL, Levels::default().level(delay).to_string()))
            }
            Self::For(delay) => Some((Name::PROPERTY_TIMER_DELAY_MS, delay.as_millis().to_string())),
            Self::Until(millis) => Some((Name::PROPERTY_TIMER_DELIVER_MS, millis.to_string())),
        }
    }
}

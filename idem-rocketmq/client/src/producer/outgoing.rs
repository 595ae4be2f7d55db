//! From a message of idem's producer to the client's.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use rocketmq_model::common::message::message_client_id_setter::MessageClientIDSetter;
use rocketmq_model::common::message::message_single::Message;
use rocketmq_model::common::message::{MessageConst as Name, MessageTrait as _};

use crate::delay::{DelayBy, Levels};

/// A message that has been checked.
pub struct WireMessage {
    /// Without namespace.
    pub topic: String,
    pub body: Bytes,
    /// All but those of a delay.
    pub properties: Vec<(String, String)>,
    pub delay: Option<Delay>,
    /// The hash that chooses the message queue.
    pub order: Option<i32>,
}

/// When consumers get a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delay {
    /// From when the broker gets it.
    For(Duration),
    /// In milliseconds since 1970.
    Until(u64),
}

impl WireMessage {
    /// Body and properties, in bytes.
    pub fn bytes(&self) -> usize {
        let properties = self.properties.iter().map(|(name, value)| name.len() + value.len() + 2);
        self.body.len() + properties.sum::<usize>()
    }

    /// The client's message; `topic` is the name with namespace, and a delay is asked for by `by`. Its `UNIQ_KEY` is set
    /// here, so that it stays the same when the message is sent again.
    pub(super) fn message(self, topic: String, by: DelayBy, levels: &Levels) -> Message {
        let mut message = Message::default();
        message.set_topic(topic.into());
        message.set_body(Some(self.body));
        let mut put = |name: String, value: String| message.put_property(name.into(), value.into());
        for (name, value) in self.properties {
            put(name, value);
        }
        if let Some((name, value)) = self.delay.and_then(|delay| delay.property(by, levels)) {
            put(name.to_owned(), value);
        }
        MessageClientIDSetter::set_uniq_id(&mut message);
        message
    }
}

impl Delay {
    pub(super) fn left(self) -> Duration {
        match self {
            Self::For(delay) => delay,
            Self::Until(millis) => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                Duration::from_millis(millis).saturating_sub(now)
            }
        }
    }

    fn property(self, by: DelayBy, levels: &Levels) -> Option<(&'static str, String)> {
        match (self, by) {
            _ if self.left().is_zero() => None,
            (_, DelayBy::Level) => {
                Some((Name::PROPERTY_DELAY_TIME_LEVEL, levels.level(self.left()).to_string()))
            }
            (Self::For(delay), DelayBy::Timer) => {
                Some((Name::PROPERTY_TIMER_DELAY_MS, delay.as_millis().to_string()))
            }
            (Self::Until(millis), DelayBy::Timer) => {
                Some((Name::PROPERTY_TIMER_DELIVER_MS, millis.to_string()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_is_asked_for_by_timer_or_by_level() {
        let levels = Levels::default();
        let minute = Delay::For(Duration::from_secs(50));
        let property = |delay: Delay, by| delay.property(by, &levels);
        assert_eq!(property(minute, DelayBy::Timer), Some(("TIMER_DELAY_MS", "50000".to_owned())));
        assert_eq!(property(minute, DelayBy::Level), Some(("DELAY", "5".to_owned())));
        let soon = SystemTime::now() + Duration::from_secs(50);
        let soon = u64::try_from(soon.duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap();
        let until = Delay::Until(soon);
        assert_eq!(property(until, DelayBy::Timer), Some(("TIMER_DELIVER_MS", soon.to_string())));
        assert_eq!(property(until, DelayBy::Level), Some(("DELAY", "5".to_owned())));
        for past in [Delay::Until(1), Delay::For(Duration::ZERO)] {
            assert_eq!(property(past, DelayBy::Timer), None);
            assert_eq!(property(past, DelayBy::Level), None);
        }
    }
}

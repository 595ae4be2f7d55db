//! The copy of a message that goes to the group's retry topic, for another attempt or as a dead letter.
//!
//! The client's own send-back can neither carry properties nor say whether it worked: after an error it sends an
//! ordinary message and returns `Ok`. So idem writes that ordinary message itself and waits for the broker's
//! word. The broker (`handleRetryAndDLQ` of its `SendMessageProcessor`) moves a message for `%RETRY%group` whose
//! `RECONSUME_TIME` is above its `MAX_RECONSUME_TIMES` to `%DLQ%group`, with its properties.

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cheetah_string::CheetahString;
use rocketmq_model::common::message::message_ext::MessageExt;
use rocketmq_model::common::message::message_single::Message;
use rocketmq_model::common::message::{MessageConst as Name, MessageTrait as _};

use crate::body;
use crate::delay::{DelayBy, Levels};
use crate::hook::{CopyStamp, STAMP};
use crate::message::is_as_stored;
use crate::properties::{self as names, CopyRule, DUE};

/// How a message is tried again.
#[derive(Clone, Debug, Default)]
pub struct Retry {
    /// From now until the message comes again, at least.
    pub delay: Duration,
    /// Added to the message's properties, the most important ones first; one of the same name is replaced.
    pub properties: Vec<(String, String)>,
}

/// How much of a message a copy has. A broker that refuses one for its size may take the next one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CopyExtent {
    /// All of it, with idem's properties as far as there is room.
    #[default]
    Full,
    /// All of it, without idem's properties.
    Bare,
    /// A dead letter that says where the message is, and has nothing of it but its keys.
    Reference,
}

/// The purpose of a copy.
#[derive(Debug)]
pub enum CopyPurpose {
    /// Another attempt.
    Retry(Retry),
    /// A retry that came before its time goes on waiting; it counts as no delivery.
    Onward(Duration),
    /// The end, with properties, the most important ones first.
    DeadLetter(Vec<(String, String)>),
}

impl CopyPurpose {
    pub(super) const fn what(&self) -> &'static str {
        match self {
            Self::Retry(_) | Self::Onward(_) => "retry copy",
            Self::DeadLetter(_) => "dead letter",
        }
    }

    pub(super) fn delay(&self) -> Duration {
        match self {
            Self::Retry(retry) => retry.delay,
            Self::Onward(rest) => *rest,
            Self::DeadLetter(_) => Duration::ZERO,
        }
    }

    /// For the client's own send-back, to which 0 would mean a level of the broker's choice.
    pub(super) fn delay_level(&self, levels: &Levels) -> i32 {
        match self {
            Self::Retry(_) | Self::Onward(_) => levels.level(self.delay()).max(1),
            Self::DeadLetter(_) => -1,
        }
    }
}

/// The broker refuses properties of more than 32,767 bytes; it adds some itself.
pub const PROPERTIES_BYTES: usize = 32_767 - 1_024;

/// Brokers take a timer of up to three days.
pub const LONGEST_TIMER: Duration = Duration::from_mins(3 * 24 * 60 - 1);

/// Nobody waits for longer.
const AN_AGE: Duration = Duration::from_hours(24 * 365 * 100);

/// A copy of a message of `topic` for a group, both with namespace.
pub(crate) struct CopyRequest<'a> {
    pub(crate) message: &'a MessageExt,
    pub(crate) group: &'a str,
    pub(crate) topic: &'a str,
    pub(crate) purpose: &'a CopyPurpose,
    pub(crate) extent: CopyExtent,
}

impl CopyRequest<'_> {
    /// The message to send.
    pub(crate) fn copy(&self, by: DelayBy, levels: &Levels) -> Message {
        let Self { message, purpose, .. } = self;
        let is_reference = self.extent == CopyExtent::Reference;
        let mut properties = if is_reference { self.keys() } else { lasting(message) };
        let mut put = |name: &'static str, value: String| properties.insert(name.into(), value.into());
        let times =
            message.reconsume_times.saturating_add(i32::from(!matches!(purpose, CopyPurpose::Onward(_))));
        put(Name::PROPERTY_RECONSUME_TIME, times.to_string());
        put(Name::PROPERTY_MAX_RECONSUME_TIMES, bound(purpose, times).to_string());
        put(STAMP, self.stamp().to_string());
        if !matches!(purpose, CopyPurpose::DeadLetter(_)) {
            // The client takes a retry for a message of this topic.
            put(Name::PROPERTY_RETRY_TOPIC, self.topic.to_owned());
        }
        if let Some((name, value)) = delay_property(purpose.delay(), by, levels) {
            put(name, value);
        }
        if self.extent != CopyExtent::Bare {
            self.add_extras(&mut properties);
        }
        let mut copy = Message::default();
        copy.set_topic(format!("%RETRY%{}", self.group).into());
        copy.set_body(if is_reference { Some(self.place().into()) } else { message.body() });
        copy.set_flag(message.flag());
        copy.set_properties(properties);
        copy
    }

    /// Whether it was to wait by a timer and came early, and no timer has touched it.
    pub(super) fn was_not_timed(&self) -> bool {
        let has = |name: &'static str| self.message.property_ref(&name.into()).is_some();
        let is_early = matches!(self.purpose, CopyPurpose::Onward(_));
        is_early && has(Name::PROPERTY_TIMER_DELAY_MS) && !has(Name::PROPERTY_TIMER_OUT_MS)
    }

    /// The body goes as it came, and is called compressed where it is: so it is no larger than what a broker has taken
    /// before. A dead letter whose flag lies loses it: Apache's clients skip what they cannot decompress, and all
    /// behind it.
    fn stamp(&self) -> CopyStamp {
        let message = self.message;
        let is_dead = matches!(self.purpose, CopyPurpose::DeadLetter(_));
        let is_its_own = self.extent != CopyExtent::Reference && is_as_stored(message);
        let is_compressed = is_its_own && !(is_dead && body::is_damaged(message));
        let sys_flag = if is_compressed { message.sys_flag() & body::FLAGS } else { 0 };
        CopyStamp { sys_flag, born: message.born_timestamp() }
    }

    /// Adds the properties that are left out if there is no room, the first ones last.
    fn add_extras(&self, properties: &mut PropertyMap) {
        let own = |name: &str| self.message.property_ref(&name.into()).map(ToString::to_string);
        let mut put = |name: &str, value: String| add(properties, name, &value);
        match self.purpose {
            CopyPurpose::Retry(retry) if !retry.delay.is_zero() => put(DUE, due(retry.delay)),
            CopyPurpose::Retry(_) => {}
            CopyPurpose::Onward(_) => {
                for name in names::OF_A_RETRY {
                    if let Some(value) = own(name) {
                        put(name, value);
                    }
                }
            }
            CopyPurpose::DeadLetter(_) => put(Name::PROPERTY_RETRY_TOPIC, self.topic.to_owned()),
        }
        let (first, last) = match self.purpose {
            CopyPurpose::Retry(Retry { properties, .. }) | CopyPurpose::DeadLetter(properties) => {
                properties.split_at(properties.len().min(1))
            }
            CopyPurpose::Onward(_) => (&[][..], &[][..]),
        };
        for (name, value) in first {
            put(name, value.clone());
        }
        let first_id = own(Name::PROPERTY_ORIGIN_MESSAGE_ID).filter(|_| self.is_of_a_retry());
        put(Name::PROPERTY_ORIGIN_MESSAGE_ID, first_id.unwrap_or_else(|| self.message.msg_id().to_string()));
        put(Name::PROPERTY_WAIT_STORE_MSG_OK, "true".to_owned());
        if self.extent == CopyExtent::Reference {
            put(names::REFERENCE, self.place());
        }
        for (name, value) in last {
            put(name, value.clone());
        }
    }

    /// Whether the message is itself a copy for another attempt of this topic's message.
    fn is_of_a_retry(&self) -> bool {
        let retried = self.message.property_ref(&Name::PROPERTY_RETRY_TOPIC.into());
        self.message.reconsume_times > 0 && retried.is_some_and(|topic| topic == self.topic)
    }

    fn keys(&self) -> PropertyMap {
        let names = [Name::PROPERTY_KEYS, Name::PROPERTY_TAGS, Name::PROPERTY_UNIQ_CLIENT_MESSAGE_ID_KEYIDX];
        let values = names.into_iter().filter_map(|name| {
            let value = self.message.property_ref(&name.into()).filter(|value| value.len() <= 1_024)?;
            Some((name.into(), value.clone()))
        });
        values.collect()
    }

    fn place(&self) -> String {
        let message = self.message;
        let (id, broker, queue, offset) =
            (message.msg_id(), message.broker_name(), message.queue_id(), message.queue_offset());
        format!("message {id} of topic {}: broker {broker}, queue {queue}, offset {offset}", self.topic)
    }
}

/// Invariant: a retry's count is never above its bound, a dead letter's always is.
fn bound(purpose: &CopyPurpose, times: i32) -> i32 {
    match purpose {
        CopyPurpose::Retry(_) | CopyPurpose::Onward(_) => i32::MAX,
        CopyPurpose::DeadLetter(_) => times - 1,
    }
}

type PropertyMap = HashMap<CheetahString, CheetahString>;

fn lasting(message: &MessageExt) -> PropertyMap {
    let all = message.properties().iter();
    let kept = all.filter(|(name, _)| names::fate(name) == CopyRule::Kept);
    kept.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// When a delay is over, and how long it was.
fn due(delay: Duration) -> String {
    let delay = delay.min(AN_AGE);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{},{}", now.saturating_add(delay).as_millis(), delay.as_millis())
}

fn delay_property(delay: Duration, by: DelayBy, levels: &Levels) -> Option<(&'static str, String)> {
    match by {
        _ if delay.is_zero() => None,
        DelayBy::Level => Some((Name::PROPERTY_DELAY_TIME_LEVEL, levels.level(delay).to_string())),
        DelayBy::Timer => {
            let milliseconds = delay.min(LONGEST_TIMER).as_millis();
            Some((Name::PROPERTY_TIMER_DELAY_MS, milliseconds.to_string()))
        }
    }
}

/// Adds what fits: a reason that is too long is cut, because a broker would refuse the whole message.
fn add(properties: &mut PropertyMap, name: &str, value: &str) {
    let (name, value) = (clean(name), clean(value));
    properties.remove(name.as_str());
    let used: usize = properties.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
    let room = PROPERTIES_BYTES.saturating_sub(used + name.len() + 2);
    let fits = value.len() <= room || name == names::REASON;
    let value = &value[..value.floor_char_boundary(room)];
    if fits && !value.is_empty() && !name.is_empty() {
        properties.insert(name.into(), value.into());
    }
}

/// RocketMQ separates properties with the characters 1 and 2; within one they become spaces.
fn clean(text: &str) -> String {
    text.replace(['\u{1}', '\u{2}'], " ")
}

#[cfg(test)]
mod tests;

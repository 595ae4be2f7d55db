//! The copy of a message that goes to the group's retry topic, for another attempt or as a dead letter.
//!
//! The client's own send-back can neither carry properties nor say whether it worked: after an error it sends an
//! ordinary message and returns `Ok`. So idem writes that ordinary message itself and waits for the broker's
//! word. The broker (`handleRetryAndDLQ` of its `SendMessageProcessor`) moves a message for `%RETRY%group` whose
//! `RECONSUME_TIME` is above its `MAX_RECONSUME_TIMES` to `%DLQ%group`, with its properties.

use std::collections::HashMap;
use std::time::Duration;

use cheetah_string::CheetahString;
use rocketmq_model::common::message::MessageConst as Name;
use rocketmq_model::common::message::message_ext::MessageExt;
use rocketmq_model::common::message::message_single::Message;

use super::body;
use super::delay::{DelayBy, Levels};
use super::hook::{STAMP, Stamp};
use super::message::is_as_stored;

/// How a message is tried again.
#[derive(Clone, Debug, Default)]
pub(crate) struct Retry {
    /// From now until the message comes again, at least.
    pub(crate) delay: Duration,
    /// Added to the message's properties; one of the same name is replaced.
    pub(crate) properties: Vec<(String, String)>,
}

pub(super) enum Purpose {
    Retry(Retry),
    DeadLetter(Vec<(String, String)>),
}

impl Purpose {
    pub(super) const fn what(&self) -> &'static str {
        match self {
            Self::Retry(_) => "retry copy",
            Self::DeadLetter(_) => "dead letter",
        }
    }

    pub(super) fn is_delayed(&self) -> bool {
        matches!(self, Self::Retry(retry) if !retry.delay.is_zero())
    }

    /// For the client's own send-back, to which 0 would mean a level of the broker's choice.
    pub(super) fn delay_level(&self, levels: &Levels) -> i32 {
        match self {
            Self::Retry(retry) => levels.level(retry.delay).max(1),
            Self::DeadLetter(_) => -1,
        }
    }
}

/// The broker refuses properties of more than 32,767 bytes; it adds some itself.
pub(crate) const PROPERTIES_BYTES: usize = 32_767 - 1_024;

/// Brokers take a timer of up to three days.
const LONGEST_TIMER: Duration = Duration::from_mins(3 * 24 * 60 - 1);

/// What the broker or the client wrote for one delivery; in a copy it would be wrong or even act.
const OF_ONE_DELIVERY: [&str; 20] = [
    Name::PROPERTY_DELAY_TIME_LEVEL,
    Name::PROPERTY_STARTDE_LIVER_TIME,
    Name::PROPERTY_REAL_TOPIC,
    Name::PROPERTY_REAL_QUEUE_ID,
    Name::PROPERTY_TRANSACTION_PREPARED,
    Name::PROPERTY_CONSUME_START_TIMESTAMP,
    Name::PROPERTY_MIN_OFFSET,
    Name::PROPERTY_MAX_OFFSET,
    Name::PROPERTY_FIRST_POP_TIME,
    Name::PROPERTY_POP_CK,
    Name::PROPERTY_POP_CK_OFFSET,
    Name::PROPERTY_CRC32,
    Name::PROPERTY_INNER_NUM,
    Name::PROPERTY_INNER_BASE,
    Name::PROPERTY_INNER_MULTI_DISPATCH,
    Name::PROPERTY_INNER_MULTI_QUEUE_OFFSET,
    Name::PROPERTY_RECONSUME_TIME,
    Name::PROPERTY_MAX_RECONSUME_TIMES,
    Name::PROPERTY_FORWARD_QUEUE_ID,
    "__RMQ.TRANSIENT.TOPIC_SYS_FLAG",
];

/// The message to send: `group` and `topic` are the names with namespace.
pub(super) fn copy(
    message: &MessageExt,
    group: &str,
    topic: &str,
    purpose: &Purpose,
    (by, levels): (DelayBy, &Levels),
) -> Message {
    let mut properties = lasting(message);
    let mut put = |name: &'static str, value: String| properties.insert(name.into(), value.into());
    let times = message.reconsume_times.saturating_add(1);
    put(Name::PROPERTY_RECONSUME_TIME, times.to_string());
    put(Name::PROPERTY_MAX_RECONSUME_TIMES, bound(purpose, times).to_string());
    if let Purpose::Retry(retry) = purpose
        && let Some((name, value)) = delay_property(retry.delay, by, levels)
    {
        put(name, value);
    }
    put(STAMP, stamp(message, purpose).to_string());
    origin(&mut properties, message, topic);
    add(&mut properties, extras(purpose));
    let mut copy = Message::default();
    copy.set_topic(format!("%RETRY%{group}").into());
    copy.set_body(message.body());
    copy.set_flag(message.flag());
    copy.set_properties(properties);
    copy
}

/// Invariant: a retry's count is never above its bound, a dead letter's always is.
fn bound(purpose: &Purpose, times: i32) -> i32 {
    match purpose {
        Purpose::Retry(_) => i32::MAX,
        Purpose::DeadLetter(_) => times - 1,
    }
}

/// The body goes as it came, and is called compressed where it is: so it is no larger than what a broker has taken before. A
/// dead letter whose flag lies is told so no more: Apache's clients skip what they cannot decompress, and all behind it.
fn stamp(message: &MessageExt, purpose: &Purpose) -> Stamp {
    let is_dead = matches!(purpose, Purpose::DeadLetter(_));
    let is_compressed = is_as_stored(message) && !(is_dead && body::is_damaged(message));
    let sys_flag = if is_compressed { message.sys_flag() & body::FLAGS } else { 0 };
    Stamp { sys_flag, born: message.born_timestamp() }
}

type Properties = HashMap<CheetahString, CheetahString>;

fn lasting(message: &MessageExt) -> Properties {
    let passing = |name: &str| OF_ONE_DELIVERY.contains(&name) || name.starts_with("TIMER_");
    let all = message.properties().iter();
    all.filter(|(name, _)| !passing(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// The original topic and message id, which the first copy writes and later ones keep.
fn origin(properties: &mut Properties, message: &MessageExt, topic: &str) {
    let mut keep = |name: &'static str, value: CheetahString| {
        properties.entry(name.into()).or_insert(value);
    };
    keep(Name::PROPERTY_RETRY_TOPIC, topic.into());
    keep(Name::PROPERTY_ORIGIN_MESSAGE_ID, message.msg_id().clone());
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

fn extras(purpose: &Purpose) -> &[(String, String)] {
    match purpose {
        Purpose::Retry(retry) => &retry.properties,
        Purpose::DeadLetter(properties) => properties,
    }
}

/// Adds what fits: a reason that is too long is cut, because a broker would refuse the whole message.
fn add(properties: &mut Properties, extras: &[(String, String)]) {
    for (name, value) in extras {
        let (name, value) = (clean(name), clean(value));
        properties.remove(name.as_str());
        let used: usize = properties.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
        let room = PROPERTIES_BYTES.saturating_sub(used + name.len() + 2);
        let value = &value[..value.floor_char_boundary(room)];
        if !value.is_empty() && !name.is_empty() {
            properties.insert(name.into(), value.into());
        }
    }
}

/// RocketMQ separates properties with the characters 1 and 2; within one they become spaces.
fn clean(text: &str) -> String {
    text.replace(['\u{1}', '\u{2}'], " ")
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn message(properties: &[(&'static str, &str)]) -> MessageExt {
        let mut inner = Message::default();
        inner.set_topic("orders".into());
        inner.set_body(Some(Bytes::from_static(b"body")));
        inner.set_properties(
            properties.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
        );
        inner.set_flag(7);
        let mut message = MessageExt { message: inner, ..MessageExt::default() };
        message.set_msg_id("offset-id".into());
        message
    }

    fn property(copy: &Message, name: &str) -> Option<String> {
        copy.property(name).map(str::to_owned)
    }

    #[test]
    fn a_copy_keeps_the_users_properties_and_drops_those_of_one_delivery() {
        let received = message(&[
            ("TAGS", "PAID"),
            ("KEYS", "k"),
            ("UNIQ_KEY", "u"),
            ("colour", "blue"),
            ("DELAY", "3"),
            ("TIMER_OUT_MS", "5"),
            ("TRAN_MSG", "true"),
            ("REAL_TOPIC", "x"),
        ]);
        let copy = copy(
            &received,
            "ns%g",
            "ns%orders",
            &Purpose::Retry(Retry::default()),
            (DelayBy::Level, &Levels::default()),
        );
        for (name, value) in [("TAGS", "PAID"), ("KEYS", "k"), ("UNIQ_KEY", "u"), ("colour", "blue")] {
            assert_eq!(property(&copy, name).as_deref(), Some(value));
        }
        for name in ["DELAY", "TIMER_OUT_MS", "TRAN_MSG", "REAL_TOPIC"] {
            assert_eq!(property(&copy, name), None, "{name}");
        }
        assert_eq!(copy.topic().as_str(), "%RETRY%ns%g");
        assert_eq!(property(&copy, "RETRY_TOPIC").as_deref(), Some("ns%orders"));
        assert_eq!(property(&copy, "ORIGIN_MESSAGE_ID").as_deref(), Some("offset-id"));
        assert_eq!(copy.flag(), 7);
        assert_eq!(copy.body().as_deref(), Some(b"body".as_slice()));
    }

    #[test]
    fn a_second_copy_keeps_the_origin_of_the_first() {
        let mut received = message(&[("RETRY_TOPIC", "orders"), ("ORIGIN_MESSAGE_ID", "first")]);
        received.set_reconsume_times(4);
        let copy = copy(
            &received,
            "g",
            "other",
            &Purpose::Retry(Retry::default()),
            (DelayBy::Level, &Levels::default()),
        );
        assert_eq!(property(&copy, "RETRY_TOPIC").as_deref(), Some("orders"));
        assert_eq!(property(&copy, "ORIGIN_MESSAGE_ID").as_deref(), Some("first"));
        assert_eq!(property(&copy, "RECONSUME_TIME").as_deref(), Some("5"));
    }

    #[test]
    fn only_a_dead_letters_count_is_above_its_bound() {
        let number = |copy: &Message, name| property(copy, name).unwrap().parse::<i32>().unwrap();
        for times in [0, 15, 1000] {
            let mut received = message(&[]);
            received.set_reconsume_times(times);
            let retry = copy(
                &received,
                "g",
                "t",
                &Purpose::Retry(Retry::default()),
                (DelayBy::Level, &Levels::default()),
            );
            let dead = copy(
                &received,
                "g",
                "t",
                &Purpose::DeadLetter(Vec::new()),
                (DelayBy::Level, &Levels::default()),
            );
            assert!(number(&retry, "RECONSUME_TIME") <= number(&retry, "MAX_RECONSUME_TIMES"));
            assert!(number(&dead, "RECONSUME_TIME") > number(&dead, "MAX_RECONSUME_TIMES"));
        }
    }

    #[test]
    fn a_delay_becomes_a_level_or_a_timer_and_none_becomes_nothing() {
        let with = |delay, by| {
            let retry = Retry { delay: Duration::from_millis(delay), properties: Vec::new() };
            copy(&message(&[]), "g", "t", &Purpose::Retry(retry), (by, &Levels::default()))
        };
        assert_eq!(property(&with(3500, DelayBy::Level), "DELAY").as_deref(), Some("2"));
        assert_eq!(property(&with(3500, DelayBy::Timer), "TIMER_DELAY_MS").as_deref(), Some("3500"));
        assert_eq!(property(&with(0, DelayBy::Level), "DELAY"), None);
        assert_eq!(property(&with(0, DelayBy::Timer), "TIMER_DELAY_MS"), None);
    }

    #[test]
    fn separators_and_length_of_added_properties_cannot_break_the_message() {
        let extras = vec![
            ("IDEM_\u{1}REASON".to_owned(), format!("a\u{1}b\u{2}c{}", "é".repeat(40_000))),
            ("IDEM_ATTEMPTS".to_owned(), "16".to_owned()),
            ("EMPTY".to_owned(), String::new()),
        ];
        let copy =
            copy(&message(&[]), "g", "t", &Purpose::DeadLetter(extras), (DelayBy::Level, &Levels::default()));
        let reason = property(&copy, "IDEM_ REASON").unwrap();
        assert!(reason.starts_with("a b cé"));
        assert!(reason.len() <= PROPERTIES_BYTES);
        assert_eq!(property(&copy, "EMPTY"), None);
    }
}

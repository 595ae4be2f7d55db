//! Messages without a broker, for tests of handlers and of idem.

use std::time::SystemTime;

use rocketmq_model::common::message::MessageConst as Name;
use rocketmq_model::common::message::message_ext::MessageExt;
use rocketmq_model::common::message::message_single::Message;
use rocketmq_runtime::common::time_utils::current_millis;

use super::body::LARGEST;
use super::consumer::{CopyExtent, CopyPurpose, CopyRequest};
use super::hook::STAMP;
use super::message::of_message;
use super::properties::DUE;
use super::received::Received;
use super::{DelayBy, Delivery, Levels};

/// The properties of a copy that are for its broker and this client alone.
const OF_THE_WAY: [&str; 6] = [
    STAMP,
    DUE,
    Name::PROPERTY_DELAY_TIME_LEVEL,
    Name::PROPERTY_RECONSUME_TIME,
    Name::PROPERTY_MAX_RECONSUME_TIMES,
    Name::PROPERTY_CONSUME_START_TIMESTAMP,
];

/// The message of a delivery that was made by hand, in a call that has just begun.
pub fn received(delivery: &Delivery) -> Received<'static> {
    let mut message = Message::default();
    message.set_topic(delivery.topic.clone());
    message.set_body(Some(delivery.body.clone()));
    let begun = (Name::PROPERTY_CONSUME_START_TIMESTAMP.into(), current_millis().to_string().into());
    let said = delivery.properties().map(|(name, value)| (name.into(), value.into()));
    message.set_properties(said.chain([begun]).collect());
    let received = MessageExt {
        message,
        broker_name: delivery.broker.clone(),
        queue_id: i32::try_from(delivery.queue).unwrap_or(i32::MAX),
        queue_offset: i64::try_from(delivery.offset).unwrap_or(i64::MAX),
        msg_id: delivery.message_id.clone(),
        reconsume_times: i32::try_from(delivery.reconsume_times).unwrap_or(i32::MAX),
        born_timestamp: millis(delivery.born_at),
        store_timestamp: millis(delivery.stored_at),
        ..MessageExt::default()
    };
    received.into()
}

impl Received<'_> {
    /// With another count of deliveries, which may be none that a broker writes.
    #[doc(hidden)]
    #[must_use]
    pub fn with_reconsume_times(self, times: i32) -> Received<'static> {
        MessageExt { reconsume_times: times, ..self.get().clone() }.into()
    }
}

/// The delivery that a copy of the message would be: a retry under its own topic, with one delivery more, or a dead letter.
pub fn copied(message: &Received<'_>, group: &str, purpose: &CopyPurpose, extent: CopyExtent) -> Delivery {
    let message = message.get();
    let copying = CopyRequest { message, group, topic: message.topic(), purpose, extent };
    let mut copy = copying.copy(DelayBy::Level, &Levels::default());
    let is_dead = matches!(purpose, CopyPurpose::DeadLetter(_));
    copy.set_topic(if is_dead { format!("%DLQ%{group}").into() } else { message.topic().clone() });
    let properties = copy.properties().as_map().iter();
    let lasting = properties.filter(|(name, _)| !OF_THE_WAY.contains(&name.as_str()));
    copy.set_properties(lasting.map(|(name, value)| (name.clone(), value.clone())).collect());
    let stored = MessageExt {
        message: copy,
        reconsume_times: message.reconsume_times.saturating_add(1),
        store_timestamp: millis(SystemTime::now()),
        ..message.clone()
    };
    of_message(&stored, &group.into(), LARGEST)
}

fn millis(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

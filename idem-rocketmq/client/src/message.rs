//! From the client's message to idem's delivery.

use std::time::{Duration, SystemTime};

use cheetah_string::CheetahString;
use rocketmq_model::common::message::message_ext::MessageExt;
use rocketmq_model::common::message::{MessageConst as Name, MessageTrait as _};
use rocketmq_runtime::common::time_utils::current_millis;

use crate::body;
use crate::delivery::Delivery;
use crate::pulled::UNREADABLE;
use crate::received::Received;

const JUST_BEGUN_MILLIS: u64 = 10_000;

/// A received message as idem's own; see `of_message`.
pub fn delivery(message: &Received<'_>, group: &CheetahString, largest: usize) -> Delivery {
    of_message(message.get(), group, largest)
}

/// The client's message as idem's own. The topic is the original one, also on a retry; texts and body are shared, unless the
/// body was compressed. It is decompressed up to `largest` bytes.
pub(crate) fn of_message(message: &MessageExt, group: &CheetahString, largest: usize) -> Delivery {
    let properties = message.properties().iter().filter(|(name, _)| *name != UNREADABLE);
    let raw = message.body().unwrap_or_default();
    let (body, unreadable) = match (message.property_ref(&UNREADABLE.into()), is_as_stored(message)) {
        (Some(reason), _) => (raw, Some(reason.as_str().into())),
        (None, false) => (raw, None),
        (None, true) => match body::plain(raw.clone(), message.sys_flag(), largest) {
            Ok(body) => (body, None),
            Err(reason) => (raw, Some(reason.into())),
        },
    };
    Delivery {
        group: group.clone(),
        topic: message.topic().clone(),
        message_id: message.msg_id().clone(),
        broker: message.broker_name().into(),
        queue: u32::try_from(message.queue_id()).unwrap_or_default(),
        offset: u64::try_from(message.queue_offset()).unwrap_or_default(),
        reconsume_times: u32::try_from(message.reconsume_times()).unwrap_or_default(),
        born_at: time(message.born_timestamp()),
        stored_at: time(message.store_timestamp()),
        properties: properties.map(|(name, value)| (name.clone(), value.clone())).collect(),
        body,
        unreadable,
    }
}

/// Whether the body is as the broker has it: so in what was pulled, on which the client writes the queue's ends. A message
/// that an operator has this member consume (`mqadmin queryMsgById -g -d`) comes decompressed, with the flag that it was not.
pub(super) fn is_as_stored(message: &MessageExt) -> bool {
    message.property_ref(&Name::PROPERTY_MIN_OFFSET.into()).is_some()
}

/// When the client began the call that this message is in, in milliseconds. Returns `None` if a person had it called with one message,
/// past its queue.
pub fn begun(message: &Received<'_>) -> Option<u64> {
    let message = message.get();
    let name = CheetahString::from_static_str(Name::PROPERTY_CONSUME_START_TIMESTAMP);
    let begun = message.properties().get(&name)?.parse().ok()?;
    // Another client may have left its own in the message.
    let is_now = current_millis().abs_diff(begun) < JUST_BEGUN_MILLIS;
    is_now.then_some(begun)
}

/// RocketMQ counts milliseconds since 1970.
fn time(millis: i64) -> SystemTime {
    let since = Duration::from_millis(u64::try_from(millis).unwrap_or_default());
    SystemTime::UNIX_EPOCH.checked_add(since).unwrap_or(SystemTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use rocketmq_model::common::message::message_single::Message;

    use super::*;

    #[test]
    fn a_delivery_says_what_the_message_holds() {
        let body = Bytes::from_static(b"{}");
        let mut inner = Message::default();
        inner.set_topic("orders".into());
        inner.set_body(Some(body.clone()));
        inner.set_tags("PAID".into());
        inner.set_keys("a b".into());
        let mut message =
            MessageExt { message: inner, queue_id: 3, queue_offset: 9, ..MessageExt::default() };
        message.set_msg_id("id".into());
        let delivery = of_message(&message, &"g".into(), body::LARGEST);
        assert_eq!(
            (delivery.topic(), delivery.tag(), delivery.keys()),
            ("orders", Some("PAID"), Some("a b"))
        );
        assert_eq!((delivery.queue(), delivery.offset(), delivery.reconsume_times()), (3, 9, 0));
        assert_eq!((delivery.group(), delivery.message_id()), ("g", "id"));
        assert_eq!(delivery.body().as_ptr(), body.as_ptr(), "the body is shared");
    }
}

use bytes::Bytes;
use rocketmq_model::common::message::MessageConst as Name;
use rocketmq_model::common::message::message_ext::MessageExt;

/// A received message as plain owned values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Parts {
    /// The original topic without namespace, also on a retry.
    pub(crate) topic: String,
    pub(crate) tag: Option<String>,
    /// What the producer set as Keys, at most one entry for each.
    pub(crate) keys: Vec<String>,
    /// The producer's id of the message: stable over redeliveries, but not over a producer's second send, and
    /// one for a whole batch on some brokers.
    pub(crate) unique_key: Option<String>,
    /// The id of this delivery's copy: another one with every redelivery.
    pub(crate) message_id: String,
    /// The id of the first copy, by which all redeliveries can be told to be one message.
    pub(crate) origin_id: String,
    pub(crate) broker: String,
    pub(crate) queue_id: i32,
    pub(crate) offset: i64,
    /// 0 for the first delivery.
    pub(crate) reconsume_times: u32,
    /// Milliseconds since 1970 by the producer's clock.
    pub(crate) born_at: i64,
    /// Milliseconds since 1970 by the broker's clock.
    pub(crate) stored_at: i64,
    /// Every property by name, in order of names.
    pub(crate) properties: Vec<(String, String)>,
    /// Shared with the client's message, not copied.
    pub(crate) body: Bytes,
}

impl Parts {
    pub(crate) fn of(message: &MessageExt) -> Self {
        let property = |name| message.message.property(name).map(str::to_owned);
        let message_id = message.msg_id().to_string();
        Self {
            topic: message.topic().to_string(),
            tag: property(Name::PROPERTY_TAGS).filter(|tag| !tag.is_empty()),
            keys: message.message.property(Name::PROPERTY_KEYS).map(keys).unwrap_or_default(),
            unique_key: property(Name::PROPERTY_UNIQ_CLIENT_MESSAGE_ID_KEYIDX),
            origin_id: property(Name::PROPERTY_ORIGIN_MESSAGE_ID).unwrap_or_else(|| message_id.clone()),
            message_id,
            broker: message.broker_name().to_owned(),
            queue_id: message.queue_id(),
            offset: message.queue_offset(),
            reconsume_times: u32::try_from(message.reconsume_times()).unwrap_or(0),
            born_at: message.born_timestamp(),
            stored_at: message.store_timestamp(),
            properties: properties(message),
            body: message.body().unwrap_or_default(),
        }
    }
}

/// RocketMQ joins keys with spaces.
fn keys(joined: &str) -> Vec<String> {
    joined.split_whitespace().map(str::to_owned).collect()
}

fn properties(message: &MessageExt) -> Vec<(String, String)> {
    let all = message.properties().iter();
    let mut properties: Vec<_> = all.map(|(name, value)| (name.to_string(), value.to_string())).collect();
    properties.sort_unstable();
    properties
}

#[cfg(test)]
mod tests {
    use rocketmq_model::common::message::message_single::Message;

    use super::*;

    #[test]
    fn parts_name_what_the_message_holds() {
        let body = Bytes::from_static(b"{}");
        let mut inner = Message::default();
        inner.set_topic("orders".into());
        inner.set_body(Some(body.clone()));
        inner.set_tags("PAID".into());
        inner.set_keys("a b".into());
        let mut message =
            MessageExt { message: inner, queue_id: 3, queue_offset: 9, ..MessageExt::default() };
        message.set_msg_id("id".into());
        let parts = Parts::of(&message);
        assert_eq!((parts.topic.as_str(), parts.tag.as_deref()), ("orders", Some("PAID")));
        assert_eq!(parts.keys, ["a", "b"]);
        assert_eq!((parts.queue_id, parts.offset, parts.reconsume_times), (3, 9, 0));
        assert_eq!(parts.origin_id, "id");
        assert_eq!(parts.body.as_ptr(), body.as_ptr(), "the body is shared");
    }
}

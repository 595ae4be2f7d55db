//! A received message and its queue, without the client's types.

use std::sync::Arc;

use bytes::Bytes;
use cheetah_string::CheetahString;
use rocketmq_model::common::message::message_ext::MessageExt;
use rocketmq_model::common::message::message_queue::MessageQueue;

/// A message that the client has received.
#[derive(Clone)]
pub struct Received<'a>(MessageSource<'a>);

#[derive(Clone)]
enum MessageSource<'a> {
    /// Of a listener call.
    Borrowed(&'a MessageExt),
    Owned(Arc<MessageExt>),
}

/// The message queue that a message came from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Queue {
    topic: CheetahString,
    broker: CheetahString,
    id: i32,
}

impl Received<'_> {
    pub fn queue_offset(&self) -> i64 {
        self.get().queue_offset()
    }

    /// The body as it came.
    pub fn body(&self) -> Bytes {
        self.get().body().unwrap_or_default()
    }

    /// The same message, for longer than the listener call.
    pub fn into_owned(self) -> Received<'static> {
        Received(MessageSource::Owned(match self.0 {
            MessageSource::Borrowed(message) => Arc::new(message.clone()),
            MessageSource::Owned(message) => message,
        }))
    }

    pub(crate) fn get(&self) -> &MessageExt {
        match &self.0 {
            MessageSource::Borrowed(message) => message,
            MessageSource::Owned(message) => message,
        }
    }
}

impl<'a> From<&'a MessageExt> for Received<'a> {
    fn from(message: &'a MessageExt) -> Self {
        Self(MessageSource::Borrowed(message))
    }
}

impl From<MessageExt> for Received<'_> {
    fn from(message: MessageExt) -> Self {
        Self(MessageSource::Owned(Arc::new(message)))
    }
}

impl Queue {
    pub fn from_parts(topic: impl Into<CheetahString>, broker: impl Into<CheetahString>, id: i32) -> Self {
        Self { topic: topic.into(), broker: broker.into(), id }
    }

    pub fn topic(&self) -> &CheetahString {
        &self.topic
    }
}

impl From<&MessageQueue> for Queue {
    fn from(queue: &MessageQueue) -> Self {
        Self::from_parts(queue.topic().clone(), queue.broker_name().clone(), queue.queue_id())
    }
}

//! The messages of a send, and the meaning of the errors of its attempts.

use futures_util::future::BoxFuture;
use rocketmq_client_rust::{
    ClientError as Cause, DefaultMQProducer, MQClientException, SendResult, SendStatus,
};
use rocketmq_error::{
    CORE_ARGUMENT_INVALID, ErrorDescriptor, TRANSPORT_ADMISSION_QUEUE_SATURATED, TRANSPORT_CONNECTION_FAILED,
    TRANSPORT_CONNECTION_TIMEOUT, TRANSPORT_DNS_FAILED, ViewValueRef, fields,
};
use rocketmq_model::common::message::message_queue::MessageQueue;
use rocketmq_model::common::message::message_single::Message;
use rocketmq_model::common::message::{MessageConst as Name, MessageTrait as _};

use super::outgoing::Delay;
use crate::delay::Levels;
use crate::error::text;

/// Where the broker put a message, or the first one of a batch.
#[derive(Debug, Clone, Default)]
pub struct Placement {
    pub unique_key: String,
    pub broker: String,
    pub queue: i32,
    pub offset: u64,
}

/// Why a message was not confirmed.
#[derive(Debug)]
pub enum SendFailure {
    /// A broker said no, and would say so again.
    Refused { code: i32, cause: String },
    /// No attempt can have reached a broker's log.
    NotSent { cause: String },
    /// An attempt may have been stored, although no broker confirmed it.
    MaybeSent { cause: String },
    /// The producer had been shut down before.
    Stopped,
}

/// The meaning of one attempt's error.
pub(super) enum ErrorMeaning {
    Refused(i32),
    NotSent,
    MaybeSent,
}

/// The messages of one send.
pub(super) enum SendLoad {
    /// With the delay that it has, if any.
    One(Message, Option<Delay>),
    Batch(Vec<Message>),
}

/// The properties by which a message waits for the timer.
const TIMED: [&str; 2] = [Name::PROPERTY_TIMER_DELAY_MS, Name::PROPERTY_TIMER_DELIVER_MS];

impl SendLoad {
    pub(super) fn topic(&self) -> &str {
        let message = match self {
            Self::One(message, _) => Some(message),
            Self::Batch(messages) => messages.first(),
        };
        message.map(|message| message.topic().as_str()).unwrap_or_default()
    }

    /// Whether it waits by a broker's timer.
    pub(super) fn is_timed(&self) -> bool {
        let Self::One(message, _) = self else { return false };
        TIMED.into_iter().any(|name| message.property(name).is_some())
    }

    /// Has it wait by delay level instead. `false` where no level is sufficient.
    pub(super) fn wait_by_level(&mut self, levels: &Levels) -> bool {
        let Self::One(message, Some(delay)) = self else { return false };
        let left = delay.left();
        if left > levels.longest() {
            return false;
        }
        for name in TIMED {
            message.clear_property(name);
        }
        if !left.is_zero() {
            let level = levels.level(left).to_string();
            message.put_property(Name::PROPERTY_DELAY_TIME_LEVEL.into(), level.into());
        }
        true
    }

    /// One attempt, at the given queue where there is one. Boxed, because the client's futures are large.
    pub(super) fn attempt<'a>(
        &self,
        producer: &'a DefaultMQProducer,
        queue: Option<MessageQueue>,
        order: Option<i32>,
        millis: u64,
    ) -> BoxFuture<'a, Result<Option<SendResult>, Cause>> {
        if let Some(queue) = queue {
            return match self {
                Self::One(message, _) => {
                    Box::pin(producer.send_to_queue_with_timeout(message.clone(), queue, millis))
                }
                Self::Batch(messages) => {
                    let messages = messages.clone();
                    Box::pin(async move {
                        producer.send_batch_to_queue_with_timeout(messages, queue, millis).await.map(Some)
                    })
                }
            };
        }
        match (self, order) {
            (Self::One(message, _), None) => Box::pin(producer.send_with_timeout(message.clone(), millis)),
            (Self::One(message, _), Some(hash)) => {
                Box::pin(producer.send_with_selector_timeout(message.clone(), select, hash, millis))
            }
            (Self::Batch(messages), None) => {
                let messages = messages.clone();
                Box::pin(async move { producer.send_batch_with_timeout(messages, millis).await.map(Some) })
            }
            (Self::Batch(messages), Some(hash)) => {
                let (topic, messages) = (self.topic().into(), messages.clone());
                Box::pin(async move {
                    let Some(inner) = producer.default_mq_producer_impl() else {
                        return Err(Cause::not_started());
                    };
                    let queues = inner.fetch_publish_message_queues(&topic).await?;
                    let queue = pick(&queues, hash).ok_or_else(no_route)?;
                    producer.send_batch_to_queue_with_timeout(messages, queue, millis).await.map(Some)
                })
            }
        }
    }
}

fn no_route() -> Cause {
    /// `NOT_FOUND_TOPIC_EXCEPTION` of the client.
    const NOT_FOUND_TOPIC: i32 = 10_005;
    MQClientException::new_with_code(NOT_FOUND_TOPIC, "the topic has no queue").into()
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the client's signature")]
pub(super) fn select(queues: &[MessageQueue], _: &Message, hash: &i32) -> Option<MessageQueue> {
    pick(queues, *hash)
}

/// The queue of a hash, as Java's `SelectMessageQueueByHash` chooses it from the queues in their order.
pub(super) fn pick(queues: &[MessageQueue], hash: i32) -> Option<MessageQueue> {
    let mut queues: Vec<_> = queues.iter().collect();
    queues.sort_by_key(|queue| (queue.broker_name().clone(), queue.queue_id()));
    queues.get(place(hash, queues.len())?).map(|queue| (*queue).clone())
}

/// Java's remainder, made positive.
pub fn place(hash: i32, queues: usize) -> Option<usize> {
    let queues = i64::try_from(queues).ok().filter(|queues| *queues > 0)?;
    usize::try_from((i64::from(hash) % queues).abs()).ok()
}

const NO_PERMISSION: i32 = 16;
const TOPIC_NOT_EXIST: i32 = 17;

/// Whether a refusal is about the broker that was asked: one that may not be written to, or that does not have the topic.
pub(super) fn is_of_the_broker(code: i32) -> bool {
    matches!(code, NO_PERMISSION | TOPIC_NOT_EXIST)
}

/// The failure of a request that is not repeated.
pub(super) fn failure(error: &Cause) -> SendFailure {
    let cause = text(error);
    match meaning(error) {
        ErrorMeaning::Refused(code) => SendFailure::Refused { code, cause },
        ErrorMeaning::NotSent => SendFailure::NotSent { cause },
        ErrorMeaning::MaybeSent => SendFailure::MaybeSent { cause },
    }
}

/// Whatever is not known to be harmless counts as maybe sent.
pub(super) fn meaning(error: &Cause) -> ErrorMeaning {
    /// `SYSTEM_BUSY` and `SERVICE_NOT_AVAILABLE`: the broker put the message nowhere, for now.
    const NOT_NOW: [i32; 2] = [2, 14];
    /// `MESSAGE_ILLEGAL` and what is a broker's own.
    const REFUSED: [i32; 3] = [13, NO_PERMISSION, TOPIC_NOT_EXIST];
    /// `CONNECT_BROKER`, `BROKER_NOT_EXIST`, `NO_NAME_SERVER`, `NOT_FOUND_TOPIC`: codes of the client.
    const NO_ROUTE: [i32; 4] = [10_001, 10_003, 10_004, 10_005];
    match error.broker_response_code() {
        Some(code) if REFUSED.contains(&code) => return ErrorMeaning::Refused(code),
        Some(code) if NOT_NOW.contains(&code) => return ErrorMeaning::NotSent,
        Some(_) => return ErrorMeaning::MaybeSent,
        None => {}
    }
    if let Some(exception) = error.source_ref::<MQClientException>() {
        return match exception.response_code() {
            // A name server that knows no broker of the topic, which may just be starting again.
            TOPIC_NOT_EXIST => ErrorMeaning::NotSent,
            code if REFUSED.contains(&code) => ErrorMeaning::Refused(code),
            code if NO_ROUTE.contains(&code) => ErrorMeaning::NotSent,
            _ if exception.to_string().contains("No route info") => ErrorMeaning::NotSent,
            _ => ErrorMeaning::MaybeSent,
        };
    }
    let is = |known: &[&'static ErrorDescriptor]| known.iter().any(|known| error.is(known));
    if is(&[&TRANSPORT_ADMISSION_QUEUE_SATURATED, &TRANSPORT_DNS_FAILED, &TRANSPORT_CONNECTION_TIMEOUT]) {
        return ErrorMeaning::NotSent;
    }
    if is(&[&TRANSPORT_CONNECTION_FAILED]) && was_not_written(error) {
        return ErrorMeaning::NotSent;
    }
    if is(&[&CORE_ARGUMENT_INVALID]) { ErrorMeaning::Refused(0) } else { ErrorMeaning::MaybeSent }
}

/// Whether the connection failed before there was one, or before anything was written to it.
fn was_not_written(error: &Cause) -> bool {
    let Ok(view) = error.shared_error().diagnostic_view() else { return false };
    let name = fields::PHASE.schema().name();
    view.fields().any(|field| {
        field.name() == name && matches!(field.value(), ViewValueRef::Text("connect" | "before_write"))
    })
}

pub(super) fn placed(result: &SendResult) -> Placement {
    let queue = result.message_queue.as_ref();
    Placement {
        unique_key: result.msg_id.as_ref().map(ToString::to_string).unwrap_or_default(),
        broker: queue.map(|queue| queue.broker_name().to_string()).unwrap_or_default(),
        queue: queue.map(MessageQueue::queue_id).unwrap_or_default(),
        offset: result.queue_offset,
    }
}

/// Whether a half message is as safe as its broker makes messages.
pub(super) fn is_safe(result: &SendResult) -> bool {
    result.send_status == SendStatus::SendOk
}

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use rocketmq_client_rust::{
    ClientResult, ConsumeConcurrentlyContext, ConsumeConcurrentlyStatus, ConsumeOrderlyContext,
    ConsumeOrderlyStatus, MessageListenerConcurrently, MessageListenerOrderly,
};
use rocketmq_model::common::message::message_ext::MessageExt;
use rocketmq_model::common::message::message_queue::MessageQueue;

use super::gate::ShutdownGate;
use crate::received::{Queue, Received};

/// The answer of a [`Listener`] for all messages of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsumeStatus {
    /// Every message is settled: the offset may move over them.
    Success,
    /// Only where queues are consumed in order: the same messages are to come again after this time, and none of the
    /// queue before.
    Suspend(Duration),
    /// Some are left to the broker. The call blocks until the client is down and cannot hear an answer: "later"
    /// would make it send all of them back, and count an attempt for each.
    Leave,
    /// The client has lost the queue since, and ignores what is said.
    Lost,
}

/// Receives messages on a thread that may block for as long as the work takes.
///
/// A panic counts as [`ConsumeStatus::Leave`].
pub trait Listener: Send + Sync + 'static {
    /// Called with 1 to `batch_size` messages of one queue.
    fn consume(self: Arc<Self>, messages: &[Received<'_>], queue: &Queue) -> ConsumeStatus;

    /// The client has ended by a panic: no message comes any more.
    fn client_failed(&self) {}
}

/// The client's kind of listener around ours.
pub(super) struct ListenerAdapter {
    pub(super) listener: Arc<dyn Listener>,
    pub(super) gate: Arc<ShutdownGate>,
}

/// Not by the client's own bound of attempts, which would make dead letters of all the messages of the call.
impl MessageListenerOrderly for ListenerAdapter {
    fn consume_message(
        &self,
        messages: &[&MessageExt],
        context: &mut ConsumeOrderlyContext,
    ) -> ClientResult<ConsumeOrderlyStatus> {
        match self.answer(messages, context.get_message_queue()) {
            ConsumeStatus::Success => return Ok(ConsumeOrderlyStatus::Success),
            ConsumeStatus::Suspend(delay) => {
                let millis = i64::try_from(delay.as_millis()).unwrap_or(i64::MAX);
                context.set_suspend_current_queue_time_millis(millis);
            }
            ConsumeStatus::Leave => self.gate.wait(),
            ConsumeStatus::Lost => {}
        }
        Ok(ConsumeOrderlyStatus::SuspendCurrentQueueAMoment)
    }
}

impl MessageListenerConcurrently for ListenerAdapter {
    fn consume_message(
        &self,
        messages: &[&MessageExt],
        context: &ConsumeConcurrentlyContext,
    ) -> ClientResult<ConsumeConcurrentlyStatus> {
        match self.answer(messages, context.get_message_queue()) {
            ConsumeStatus::Success => return Ok(ConsumeConcurrentlyStatus::ConsumeSuccess),
            ConsumeStatus::Lost => {}
            ConsumeStatus::Suspend(_) | ConsumeStatus::Leave => self.gate.wait(),
        }
        Ok(ConsumeConcurrentlyStatus::ReconsumeLater)
    }
}

impl ListenerAdapter {
    fn answer(&self, messages: &[&MessageExt], queue: &MessageQueue) -> ConsumeStatus {
        if !self.gate.is_open() {
            return ConsumeStatus::Leave;
        }
        let received: Vec<_> = messages.iter().map(|message| Received::from(*message)).collect();
        let of_queue = Queue::from(queue);
        let call = AssertUnwindSafe(|| self.listener.clone().consume(&received, &of_queue));
        catch_unwind(call).unwrap_or_else(|_| {
            tracing::error!(
                topic = queue.topic_str(),
                "the listener panicked; its messages are left to the broker"
            );
            ConsumeStatus::Leave
        })
    }
}

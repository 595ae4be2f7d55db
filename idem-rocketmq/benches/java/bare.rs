//! The client alone, made and run as its own documentation shows it: what users have without idem.

use std::sync::Arc;
use std::thread;

use bytes::Bytes;
use rocketmq_client_rust::{
    ClientResult, ClientRuntime, ClientRuntimeConfig, ConsumeConcurrentlyContext, ConsumeConcurrentlyStatus,
    ConsumeOrderlyContext, ConsumeOrderlyStatus, DefaultMQPushConsumer, MQPushConsumer,
    MessageListenerConcurrently, MessageListenerOrderly, TelemetryHandle,
};
use rocketmq_model::common::consumer::consume_from_where::ConsumeFromWhere;
use rocketmq_model::common::message::message_ext::MessageExt;
use rocketmq_runtime::RuntimeOwner;

use crate::measure::{Cost, MessageCount};
use crate::measured;

/// How many messages a call of the listener may bring. The client's default is one, which is a third as fast.
const BATCH: u32 = 32;

/// The work in a call of the listener.
pub(crate) type ListenerWork = Box<dyn Fn(&[Bytes]) + Send + Sync>;

/// The same with each payload.
pub(crate) fn each(one: impl Fn(&Bytes) + Send + Sync + 'static) -> ListenerWork {
    Box::new(move |payloads| payloads.iter().for_each(&one))
}

pub(crate) struct BareClient {
    pub(crate) name_server: String,
    pub(crate) group: String,
    pub(crate) topic: String,
    pub(crate) threads: u32,
    pub(crate) is_orderly: bool,
    pub(crate) work: ListenerWork,
}

struct PayloadListener(ListenerWork);

impl PayloadListener {
    fn work(&self, messages: &[&MessageExt]) {
        let payloads: Vec<Bytes> =
            messages.iter().map(|message| message.body().unwrap_or_default()).collect();
        (self.0)(&payloads);
    }
}

impl MessageListenerConcurrently for PayloadListener {
    fn consume_message(
        &self,
        messages: &[&MessageExt],
        _context: &ConsumeConcurrentlyContext,
    ) -> ClientResult<ConsumeConcurrentlyStatus> {
        self.work(messages);
        Ok(ConsumeConcurrentlyStatus::ConsumeSuccess)
    }
}

impl MessageListenerOrderly for PayloadListener {
    fn consume_message(
        &self,
        messages: &[&MessageExt],
        _context: &mut ConsumeOrderlyContext,
    ) -> ClientResult<ConsumeOrderlyStatus> {
        self.work(messages);
        Ok(ConsumeOrderlyStatus::Success)
    }
}

impl BareClient {
    /// Consumes until all is counted. On a thread of its own: the client's runtime is made and ended outside of any other.
    pub(crate) fn consume(self, count: MessageCount) -> anyhow::Result<Cost> {
        thread::spawn(move || self.run(&count)).join().expect("it does not panic")
    }

    fn run(self, count: &MessageCount) -> anyhow::Result<Cost> {
        let owner = RuntimeOwner::new()?;
        let context = owner.root_context().component("bare");
        let runtime =
            ClientRuntime::try_new(context, ClientRuntimeConfig::default(), TelemetryHandle::noop())?;
        let cost = owner.block_on(async {
            let mut consumer = DefaultMQPushConsumer::builder(Arc::clone(&runtime))
                .consumer_group(self.group)
                .name_server_addr(self.name_server)
                .consume_from_where(ConsumeFromWhere::ConsumeFromFirstOffset)
                .consume_message_batch_max_size(BATCH)
                .consume_thread_min(self.threads)
                .consume_thread_max(self.threads)
                .build();
            consumer.subscribe(self.topic, "*").await?;
            let listener = PayloadListener(self.work);
            if self.is_orderly {
                consumer.register_message_listener_orderly(listener);
            } else {
                consumer.register_message_listener_concurrently(listener);
            }
            consumer.start().await?;
            let cost = measured(count).await;
            consumer.shutdown().await;
            runtime.shutdown().await;
            cost
        });
        owner.shutdown_runtime_blocking()?;
        cost
    }
}

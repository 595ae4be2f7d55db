use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use rocketmq_client_rust::{
    ClientConfig, ClientRuntime, ClientRuntimeConfig, DefaultMQProducer, TelemetryHandle,
};
use rocketmq_model::common::message::MessageTrait;
use rocketmq_model::common::message::message_single::Message;
use rocketmq_runtime::ChildServiceContext;
use tokio::runtime::Handle;
use tokio::sync::OnceCell;

use super::EmbeddedError;

/// A message to send.
#[derive(Clone, Debug)]
pub struct Outgoing {
    topic: String,
    body: Bytes,
    tag: Option<String>,
    keys: Vec<String>,
    properties: Vec<(String, String)>,
    delay_level: i32,
}

impl Outgoing {
    /// A message without tag and keys.
    pub fn new(topic: impl Into<String>, body: impl Into<Bytes>) -> Self {
        Self {
            topic: topic.into(),
            body: body.into(),
            tag: None,
            keys: Vec::new(),
            properties: Vec::new(),
            delay_level: 0,
        }
    }

    /// Sets the tag.
    #[must_use]
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.tag = Some(tag.into());
        self
    }

    /// Adds one of the message's Keys.
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.keys.push(key.into());
        self
    }

    /// Adds a property.
    #[must_use]
    pub fn property(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.properties.push((name.into(), value.into()));
        self
    }

    /// Delivers the message after the broker's delay level, counted from 1.
    #[must_use]
    pub fn delay_level(mut self, level: i32) -> Self {
        self.delay_level = level;
        self
    }

    fn into_message(self) -> Message {
        let mut message = Message::default();
        message.set_topic(self.topic.into());
        message.set_body(Some(self.body));
        for (name, value) in self.properties {
            message.put_property(name.into(), value.into());
        }
        if let Some(tag) = self.tag {
            message.set_tags(tag.into());
        }
        if !self.keys.is_empty() {
            message.set_keys(self.keys.join(" ").into());
        }
        if self.delay_level > 0 {
            message.set_delay_time_level(self.delay_level);
        }
        message
    }
}

/// Sends messages to an [`EmbeddedBroker`](super::EmbeddedBroker).
#[derive(Clone)]
pub struct Producer(Arc<ProducerState>);

struct ProducerState {
    handle: Handle,
    context: ChildServiceContext,
    name_server: String,
    producer: OnceCell<DefaultMQProducer>,
}

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer").field("name_server", &self.0.name_server).finish_non_exhaustive()
    }
}

impl Producer {
    /// Must be called on the broker's runtime.
    pub(super) fn new(context: ChildServiceContext, name_server: String) -> Self {
        let producer = OnceCell::new();
        Self(Arc::new(ProducerState { handle: Handle::current(), context, name_server, producer }))
    }

    /// Sends one message and waits until the broker has it. Returns the producer's id of it (`UNIQ_KEY`).
    ///
    /// # Errors
    ///
    /// The broker refuses the message, or has been shut down.
    pub fn send(&self, message: Outgoing) -> BoxFuture<'static, Result<String, EmbeddedError>> {
        let inner = Arc::clone(&self.0);
        let topic = message.topic.clone();
        self.run(topic.clone(), async move {
            let sent = Box::pin(inner.producer().await?.send(message.into_message())).await;
            let sent = sent.map_err(|error| failed(&topic, &error))?;
            Ok(sent.and_then(|sent| sent.msg_id).map(|id| id.to_string()).unwrap_or_default())
        })
    }

    /// Sends messages of one topic in batches, which is much faster than one by one.
    ///
    /// On this broker all messages of a batch have the same `UNIQ_KEY`.
    ///
    /// # Errors
    ///
    /// The broker refuses a batch, or has been shut down. Batches before it are sent.
    pub fn send_all(&self, messages: Vec<Outgoing>) -> BoxFuture<'static, Result<(), EmbeddedError>> {
        const BATCH: usize = 200;
        let inner = Arc::clone(&self.0);
        let topic = messages.first().map(|message| message.topic.clone()).unwrap_or_default();
        self.run(topic.clone(), async move {
            for batch in messages.chunks(BATCH) {
                let batch: Vec<_> = batch.iter().cloned().map(Outgoing::into_message).collect();
                let sent = inner.producer().await?.send_batch(batch).await;
                sent.map_err(|error| failed(&topic, &error))?;
            }
            Ok(())
        })
    }

    fn run<T: Send + 'static>(
        &self,
        topic: String,
        work: impl Future<Output = Result<T, EmbeddedError>> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, EmbeddedError>> {
        let handle = self.0.handle.clone();
        Box::pin(async move {
            let ended = |_| EmbeddedError::Send { topic, cause: "the broker has been shut down".to_owned() };
            handle.spawn(Box::pin(work)).await.map_err(ended)?
        })
    }
}

impl ProducerState {
    async fn producer(&self) -> Result<&DefaultMQProducer, EmbeddedError> {
        self.producer.get_or_try_init(|| self.start()).await
    }

    async fn start(&self) -> Result<DefaultMQProducer, EmbeddedError> {
        let context = self.context.component("client");
        let runtime =
            ClientRuntime::try_new(context, ClientRuntimeConfig::default(), TelemetryHandle::noop());
        let mut config = ClientConfig::new();
        config.set_namesrv_addr(self.name_server.clone().into());
        let mut producer = DefaultMQProducer::builder(runtime.map_err(|error| failed("", &error))?)
            .client_config(config)
            .producer_group("idem_embedded_producer")
            .build();
        producer.start().await.map_err(|error| failed("", &error))?;
        Ok(producer)
    }
}

fn failed(topic: &str, error: &rocketmq_client_rust::ClientError) -> EmbeddedError {
    EmbeddedError::Send { topic: topic.to_owned(), cause: idem_rocketmq_client::text(error) }
}

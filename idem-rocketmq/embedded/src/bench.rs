//! Requests of tests and examples to a broker beside consuming: this one, or any other that can be reached.

use std::sync::Arc;
use std::thread;

use futures_util::future::BoxFuture;
use tokio::sync::oneshot;

use super::admin::Admin;
use super::producer::Producer;
use super::{EmbeddedError, StoredMessage};
use idem_rocketmq_client::own_runtime;

/// Sends to a broker and looks into it; clones share their connections.
///
/// It looks into one broker: for tests, which have no more.
#[doc(hidden)]
#[derive(Clone, Debug)]
pub struct Bench {
    pub(super) admin: Admin,
    pub(super) producer: Producer,
    /// Ends the producer's runtime with the last clone; a bench of an embedded broker lives on that one's.
    pub(super) _alive: Option<Arc<oneshot::Sender<()>>>,
}

impl Bench {
    /// For the broker behind a name server, without access control and TLS.
    ///
    /// # Errors
    /// The name server does not answer, or knows no broker.
    pub fn connect(name_server: impl Into<String>) -> BoxFuture<'static, Result<Self, EmbeddedError>> {
        let name_server = name_server.into();
        Box::pin(async move {
            let admin = Admin::find(name_server.clone()).await?;
            let (ready, producer) = oneshot::channel();
            let (alive, ended) = oneshot::channel::<()>();
            let live = move || match own_runtime("idem-bench", 1) {
                Ok(owner) => {
                    owner.block_on(async {
                        let context = owner.root_context().component("producer");
                        let _ = ready.send(Ok(Producer::new(context, name_server)));
                        let _ = ended.await;
                    });
                    owner.shutdown_background();
                }
                Err(cause) => drop(ready.send(Err(EmbeddedError::Start(cause)))),
            };
            let builder = thread::Builder::new().name("idem-bench".to_owned()).stack_size(8 << 20);
            builder.spawn(live).map_err(|error| EmbeddedError::Start(error.to_string()))?;
            let gone = |_| EmbeddedError::Start("its thread ended".to_owned());
            let producer = producer.await.map_err(gone)??;
            Ok(Self { admin, producer, _alive: Some(Arc::new(alive)) })
        })
    }

    /// The address that clients take as their name server.
    pub fn name_server(&self) -> &str {
        self.admin.name_server()
    }

    /// A producer; clones share one connection.
    pub fn producer(&self) -> Producer {
        self.producer.clone()
    }

    /// Creates a topic, or gives it another number of queues, and waits until consumers can find it.
    ///
    /// # Errors
    /// The broker refuses the name, or does not answer.
    pub fn create_topic<'a>(
        &'a self,
        name: &'a str,
        queues: u32,
    ) -> BoxFuture<'a, Result<(), EmbeddedError>> {
        Box::pin(self.admin.create_topic(name, queues))
    }

    /// Reads every message of a topic that was confirmed before, without being a consumer; no message if the topic does not
    /// exist.
    ///
    /// # Errors
    /// The broker does not answer.
    pub fn read_all<'a>(
        &'a self,
        topic: &'a str,
    ) -> BoxFuture<'a, Result<Vec<StoredMessage>, EmbeddedError>> {
        Box::pin(self.admin.read_all(topic))
    }

    /// As [`read_all`](Self::read_all), but without what the broker has confirmed a moment ago and not put into its queues yet,
    /// which costs a broker in Java far less: for tests that look again and again.
    ///
    /// # Errors
    /// The broker does not answer.
    pub fn read_queued<'a>(
        &'a self,
        topic: &'a str,
    ) -> BoxFuture<'a, Result<Vec<StoredMessage>, EmbeddedError>> {
        Box::pin(self.admin.read_queued(topic))
    }

    /// The number of the topic's messages that the group has not acked, by its stored offsets.
    ///
    /// # Errors
    /// The broker does not answer.
    pub fn backlog<'a>(
        &'a self,
        group: &'a str,
        topic: &'a str,
    ) -> BoxFuture<'a, Result<u64, EmbeddedError>> {
        Box::pin(self.admin.backlog(group, topic))
    }
}

//! A listener as everybody writes it first, to compare with.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use cheetah_string::CheetahString;
use futures_util::future::BoxFuture;

use super::{EmbeddedBroker, EmbeddedError};
use idem_rocketmq_client::{
    Client, ClientSettings, Cluster, ConsumeStatus, Delivery, Expression, LARGEST_BODY, LISTENER_THREADS,
    Listener, Queue, Received,
};

/// A consumer without idem: it sees every delivery, duplicates included, and acks all of them.
///
/// Dropping it stops it.
#[must_use = "the listener stops when it is dropped"]
pub struct PlainListener(Client);

struct DecodingListener<F>(F, CheetahString);

impl<F: Fn(&Delivery) + Send + Sync + 'static> Listener for DecodingListener<F> {
    fn consume(self: Arc<Self>, messages: &[Received<'_>], _: &Queue) -> ConsumeStatus {
        for message in messages {
            (self.0)(&idem_rocketmq_client::delivery(message, &self.1, LARGEST_BODY));
        }
        ConsumeStatus::Success
    }
}

/// The client's calls as they are, not even converted: what the benchmark compares idem with.
struct BareListener<F>(F);

impl<F: Fn(&Bytes) + Send + Sync + 'static> Listener for BareListener<F> {
    fn consume(self: Arc<Self>, messages: &[Received<'_>], _: &Queue) -> ConsumeStatus {
        for message in messages {
            (self.0)(&message.body());
        }
        ConsumeStatus::Success
    }
}

impl EmbeddedBroker {
    /// Calls `each` for every delivery of a topic, as a listener without dedup.
    ///
    /// # Errors
    /// The group or the topic has a name that RocketMQ does not accept, or the broker does not answer.
    pub fn listen(
        &self,
        group: &str,
        topic: &str,
        each: impl Fn(&Delivery) + Send + Sync + 'static,
    ) -> BoxFuture<'static, Result<PlainListener, EmbeddedError>> {
        listen(self.name_server(), group, topic, Arc::new(DecodingListener(each, group.into())))
    }

    /// Calls `each` with every payload of a topic straight from the client, in a consumer with the settings of
    /// idem's own: the measure of what idem costs.
    #[doc(hidden)]
    pub fn listen_bare(
        &self,
        group: &str,
        topic: &str,
        each: impl Fn(&Bytes) + Send + Sync + 'static,
    ) -> BoxFuture<'static, Result<PlainListener, EmbeddedError>> {
        listen(self.name_server(), group, topic, Arc::new(BareListener(each)))
    }
}

fn listen(
    name_server: &str,
    group: &str,
    topic: &str,
    listener: Arc<dyn Listener>,
) -> BoxFuture<'static, Result<PlainListener, EmbeddedError>> {
    let mut settings = ClientSettings::new(group, Cluster::at(name_server));
    settings.subscriptions.push((topic.to_owned(), Expression::Tags("*".to_owned())));
    settings.listener_threads = LISTENER_THREADS;
    let starting = Client::start(settings, listener);
    Box::pin(async move {
        Ok(PlainListener(starting.await.map_err(|error| EmbeddedError::Listen(error.to_string()))?))
    })
}

impl PlainListener {
    /// Stops it.
    pub async fn shutdown(self) {
        self.0.shutdown().await;
    }
}

impl fmt::Debug for PlainListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PlainListener")
    }
}

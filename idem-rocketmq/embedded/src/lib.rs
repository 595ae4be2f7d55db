//! A RocketMQ name server and broker inside this process, for trying out, examples and tests.
//!
//! It needs no Java, no container and no network: ports are free ones on the loopback address, files live in a
//! temporary directory that is removed at the end. It is the broker of the project rocketmq-rust, not Apache's,
//! which is the reference; do not serve real traffic from it. Depend on `idem-rocketmq` with its feature `embedded`.
//!
//! ```no_run
//! # mod idem_rocketmq { pub use idem_rocketmq_embedded as embedded; }
//! use idem_rocketmq::embedded::{EmbeddedBroker, Outgoing};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let broker = EmbeddedBroker::builder().topic("orders", 4).start().await?;
//! broker.producer().send(Outgoing::new("orders", r#"{"order_id":"1"}"#).tag("PAID")).await?;
//! println!("consumers find it at {}", broker.name_server());
//! broker.shutdown().await;
//! # Ok(())
//! # }
//! ```

// The broker's types are so deep that proving them `Send` needs more than the default of 128.
#![recursion_limit = "256"]
// Invariant: no sum of times overflows, whatever a user says; see `idem_core::clock::Later` and clippy.toml.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

mod admin;
mod bench;
mod config;
mod host;
mod locks;
mod plain;
mod producer;
mod remoting;

#[cfg(test)]
mod tests;

pub use admin::StoredMessage;
#[doc(hidden)]
pub use bench::Bench;
pub use plain::PlainListener;
pub use producer::{Outgoing, Producer};

use std::path::PathBuf;
use std::time::Duration;
use std::{fs, thread};

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};

/// A running name server and broker.
///
/// They have a runtime of their own and so outlive any other. Dropping this value ends them and waits for that a
/// moment; [`shutdown`](Self::shutdown) waits to the end.
#[derive(Debug)]
pub struct EmbeddedBroker {
    handle: BrokerHandle,
    stop: Mutex<Option<oneshot::Sender<()>>>,
    down: watch::Receiver<bool>,
}

/// The parts of a running broker that others use.
#[derive(Debug)]
struct BrokerHandle {
    directory: PathBuf,
    bench: Bench,
}

/// An error of an embedded broker.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmbeddedError {
    /// It could not be started, also on other ports.
    #[error("cannot start the embedded broker: {0}")]
    Start(String),
    /// It gave no answer, or it has been shut down.
    #[error("the broker does not answer: {0}")]
    Connection(String),
    /// It answered with an error.
    #[error("the broker refused to {request}: {remark} (response code {code})")]
    Refused {
        /// The request, as a verb and its object.
        request: &'static str,
        /// RocketMQ's response code.
        code: i64,
        /// The broker's own words.
        remark: String,
    },
    /// A listener without dedup could not be started.
    #[error("cannot start the listener: {0}")]
    Listen(String),
    /// A message was not stored.
    #[error("the broker did not store the message for topic {topic}: {cause}")]
    Send {
        /// The topic of the message.
        topic: String,
        /// The client's own words.
        cause: String,
    },
}

/// Options of an [`EmbeddedBroker`].
#[derive(Clone, Debug)]
pub struct EmbeddedBrokerBuilder {
    topics: Vec<(String, u32)>,
    options: config::BrokerOptions,
}

impl EmbeddedBrokerBuilder {
    /// Creates a topic with so many queues before [`start`](Self::start) returns.
    #[must_use]
    pub fn topic(mut self, name: impl Into<String>, queues: u32) -> Self {
        self.topics.push((name.into(), queues));
        self
    }

    /// Replaces the delay levels, `1s 5s 10s 30s 1m 2m ..` by default, for tests that cannot wait.
    ///
    /// The broker's timer is off then, so that retries keep to these levels.
    #[must_use]
    pub fn message_delay_levels(mut self, levels: impl Into<String>) -> Self {
        self.options.delay_levels = levels.into();
        self.options.has_timer = false;
        self
    }

    /// How often producers are asked for the state of transactions that nobody has ended, for tests that cannot
    /// wait: 30 s by default. The first time is no later than that after the message came.
    #[must_use]
    pub fn transaction_check_interval(mut self, interval: Duration) -> Self {
        self.options.check_transactions = interval;
        self
    }

    /// Whether a message for an unknown topic creates it; it does by default.
    #[must_use]
    pub fn auto_create_topics(mut self, allowed: AutoCreate) -> Self {
        self.options.auto_create = allowed;
        self
    }

    /// Starts name server and broker and returns when both answer, normally in less than a second.
    ///
    /// # Errors
    ///
    /// [`EmbeddedError::Start`], after several attempts on other ports.
    pub fn start(self) -> BoxFuture<'static, Result<EmbeddedBroker, EmbeddedError>> {
        Box::pin(async move {
            let mut last = EmbeddedError::Start("no attempt was made".to_owned());
            for _ in 0..ATTEMPTS {
                match host::start(self.options.clone()).await {
                    Ok(broker) => return broker.with_topics(&self.topics).await,
                    Err(error) => last = error,
                }
            }
            Err(last)
        })
    }
}

/// Another process can take a port between finding it free and using it.
const ATTEMPTS: u32 = 5;

/// Whether unknown topics are created by the first message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AutoCreate {
    /// A message for an unknown topic creates it.
    #[default]
    Allowed,
    /// A message for an unknown topic is refused.
    Forbidden,
}

impl EmbeddedBroker {
    /// Starts one with the defaults and no topics.
    ///
    /// # Errors
    ///
    /// [`EmbeddedError::Start`], after several attempts on other ports.
    pub fn start() -> BoxFuture<'static, Result<EmbeddedBroker, EmbeddedError>> {
        Self::builder().start()
    }

    /// Options before the start.
    pub fn builder() -> EmbeddedBrokerBuilder {
        EmbeddedBrokerBuilder { topics: Vec::new(), options: config::BrokerOptions::default() }
    }

    /// The address that clients take as their name server, such as `127.0.0.1:40123`.
    pub fn name_server(&self) -> &str {
        self.handle.bench.name_server()
    }

    /// The requests that this broker answers as others do.
    #[doc(hidden)]
    pub fn bench(&self) -> Bench {
        self.handle.bench.clone()
    }

    /// A producer to this broker; clones share one connection.
    pub fn producer(&self) -> Producer {
        self.handle.bench.producer()
    }

    /// Creates a topic, or gives it another number of queues, and waits until consumers can find it.
    ///
    /// # Errors
    ///
    /// The broker refuses the name, or does not answer.
    pub fn create_topic<'a>(
        &'a self,
        name: &'a str,
        queues: u32,
    ) -> BoxFuture<'a, Result<(), EmbeddedError>> {
        self.handle.bench.create_topic(name, queues)
    }

    #[cfg(test)]
    pub(crate) async fn forget_route(&self, topic: &str) {
        self.handle.bench.admin.forget(topic).await.unwrap();
    }

    /// Reads every message of a topic that was confirmed before, without being a consumer; no message if the topic does not
    /// exist.
    ///
    /// Also for `%DLQ%group` and `%RETRY%group`. Messages come queue by queue.
    ///
    /// # Errors
    ///
    /// The broker does not answer.
    pub fn read_all<'a>(
        &'a self,
        topic: &'a str,
    ) -> BoxFuture<'a, Result<Vec<StoredMessage>, EmbeddedError>> {
        self.handle.bench.read_all(topic)
    }

    /// The number of the topic's messages that the group has not acked, by its stored offsets.
    ///
    /// Consumers store offsets about once a second and when they shut down.
    ///
    /// # Errors
    ///
    /// The broker does not answer.
    pub fn backlog<'a>(
        &'a self,
        group: &'a str,
        topic: &'a str,
    ) -> BoxFuture<'a, Result<u64, EmbeddedError>> {
        self.handle.bench.backlog(group, topic)
    }

    /// Ends broker and name server in order and removes their files; calling it again waits for the same end.
    pub fn shutdown(&self) -> BoxFuture<'static, ()> {
        if let Some(stop) = self.stop.lock().take() {
            let _ = stop.send(());
        }
        let mut down = self.down.clone();
        Box::pin(async move {
            let _ = down.wait_for(|down| *down).await;
        })
    }

    async fn with_topics(self, topics: &[(String, u32)]) -> Result<Self, EmbeddedError> {
        for (name, queues) in topics {
            self.create_topic(name, *queues).await?;
        }
        Ok(self)
    }
}

impl Drop for EmbeddedBroker {
    /// Ends the broker and waits up to a second for its files to be gone.
    fn drop(&mut self) {
        let running = self.stop.lock().take().is_some();
        let mut waits = 0;
        while running && !*self.down.borrow() && waits < 200 {
            thread::sleep(Duration::from_millis(5));
            waits += 1;
        }
        if running {
            // Its thread does the same, unless the process ends first.
            let _ = fs::remove_dir_all(&self.handle.directory);
        }
    }
}

//! The same against Apache RocketMQ in Java, which is the reference.
//!
//! `scripts/test` starts it; by hand: `scripts/services start DIR redis rocketmq rocketmq-levels` and `. DIR/env`.

mod admin;
mod batches;
mod delays;
mod deploys;
mod interop;
mod ordered;
mod outage;
mod plain;
mod workers;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use idem_rocketmq::consumer::Builder;
use idem_rocketmq::embedded::{Bench, Outgoing, Producer, StoredMessage};
use idem_rocketmq::prelude::*;
use idem_rocketmq::{Store, consumer::NoStoreYet};

use crate::kit::{self, Order};

/// The delay levels of the variant `rocketmq-levels`.
const LEVELS: &str = "1s 1s 2s 2s 3s 3s 4s 4s 5s 5s 6s 6s 7s 7s 8s 8s 9s 10s";

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// What `scripts/services` has written to `env`.
fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!("{name} is not set: run scripts/services start DIR redis rocketmq rocketmq-levels, then source DIR/env")
    })
}

/// One of the brokers in Java, with a topic and a group that no other test has.
struct Java {
    bench: Bench,
    topic: String,
    group: String,
}

impl Java {
    /// As it comes, with timer messages.
    async fn plain(name: &str, queues: u32) -> Self {
        Self::at(variable("IDEM_TEST_ROCKETMQ"), name, queues).await
    }

    /// Without timer messages, and with the [`LEVELS`].
    async fn levels(name: &str, queues: u32) -> Self {
        Self::at(variable("IDEM_TEST_ROCKETMQ_LEVELS"), name, queues).await
    }

    async fn at(name_server: String, name: &str, queues: u32) -> Self {
        let java = Self::without_topic(name_server, name).await;
        java.bench.create_topic(&java.topic, queues).await.unwrap();
        java
    }

    /// The topic is yet to be created.
    async fn without_topic(name_server: String, name: &str) -> Self {
        kit::seeing();
        let unique = format!("{name}-{:08x}", rand::random::<u32>());
        let bench = Bench::connect(name_server).await.unwrap();
        Self { bench, topic: format!("{unique}-topic"), group: unique }
    }

    fn consumer(&self) -> Builder<NoStoreYet> {
        Consumer::builder(self.group.as_str()).name_server(self.bench.name_server())
    }

    fn member(&self, store: &MemoryStore, route: Route) -> Builder<Arc<dyn Store>> {
        self.consumer().store(store.clone()).handlers([route])
    }

    /// Sends batches, each until the broker has confirmed it: on a busy machine an answer can come too late, and a
    /// batch is there twice then.
    async fn send_all(&self, messages: Vec<Outgoing>) {
        confirmed(&self.bench.producer(), messages).await;
    }

    async fn send(&self, id: impl std::fmt::Display) {
        self.bench.producer().send(kit::order(&self.topic, id)).await.unwrap();
    }

    async fn dead_letters(&self) -> Vec<StoredMessage> {
        self.bench.read_all(&format!("%DLQ%{}", self.group)).await.unwrap()
    }

    /// What was sent to be tried again and has come.
    async fn retries(&self) -> Vec<StoredMessage> {
        self.bench.read_all(&format!("%RETRY%{}", self.group)).await.unwrap()
    }

    /// Waits until the group has acked everything, as its stored offsets say.
    async fn until_acked(&self) {
        let retries = format!("%RETRY%{}", self.group);
        kit::until("all is acked", kit::SOON, async || {
            self.bench.backlog(&self.group, &self.topic).await.unwrap() == 0
                && self.bench.backlog(&self.group, &retries).await.unwrap() == 0
        })
        .await;
    }
}

async fn confirmed(producer: &Producer, messages: Vec<Outgoing>) {
    for batch in messages.chunks(100) {
        let begun = Instant::now();
        while let Err(error) = producer.send_all(batch.to_vec()).await {
            assert!(begun.elapsed() < secs(60), "{error}");
        }
    }
}

/// One run of a handler.
#[derive(Debug, Clone)]
struct Run {
    id: String,
    attempt: u32,
    at: Instant,
}

/// The runs of a handler, in their order; clones share them.
#[derive(Debug, Clone, Default)]
struct Log(Arc<Mutex<Vec<Run>>>);

impl Log {
    fn runs(&self) -> Vec<Run> {
        self.0.lock().unwrap().clone()
    }

    async fn until(&self, runs: usize, deadline: Duration) -> Vec<Run> {
        kit::until_equal("runs of the handler", runs, deadline, async || self.runs().len()).await;
        self.runs()
    }

    /// A handler of orders that notes its run, and ends as it is told.
    fn handler(
        &self,
        topic: &str,
        end: impl Fn(&str, u32) -> HandlerResult + Clone + Send + Sync + 'static,
    ) -> Route {
        let log = self.clone();
        handler(topic, move |order: Order, attempt: Attempt| {
            let run = Run { id: order.id.clone(), attempt: attempt.number(), at: Instant::now() };
            log.0.lock().unwrap().push(run);
            let ended = end(&order.id, attempt.number());
            async move { ended }
        })
        .key(|order| order.id.clone())
        .named("java")
    }
}

/// What idem has written to a copy.
fn note<'a>(message: &'a StoredMessage, name: &str) -> &'a str {
    message.property(name).unwrap_or("none")
}

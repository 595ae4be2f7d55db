//! Where a test has its messages: a broker, with a topic and a group that no other test and no other run has.

use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use idem_rocketmq::consumer::{Builder, NoStoreYet};
use idem_rocketmq::embedded::{self, Bench, EmbeddedBroker, Outgoing, StoredMessage};
use idem_rocketmq::prelude::*;

use crate::support::kit::{self, SOON, counted};
use crate::support::servers::{self, variable};

/// How long a broker lets others wait.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    /// As it comes: it has a timer, and asks for transactions each half minute.
    Plain,
    /// It has short delay levels in place of the timer, and asks for transactions each second.
    Levels,
}

/// The delay levels of the broker in Java that has no timer.
pub(crate) const LEVELS: &str = "1s 1s 2s 2s 3s 3s 4s 4s 5s 5s 6s 6s 7s 7s 8s 8s 9s 10s";

pub(crate) struct Place {
    pub(crate) bench: Bench,
    pub(crate) topic: String,
    pub(crate) group: String,
    broker: Option<EmbeddedBroker>,
}

impl Place {
    /// On Apache RocketMQ in Java, as it comes.
    pub(crate) async fn plain(queues: u32) -> Self {
        Self::java(Kind::Plain, queues).await
    }

    /// On Apache RocketMQ in Java, with short delays.
    pub(crate) async fn levels(queues: u32) -> Self {
        Self::java(Kind::Levels, queues).await
    }

    pub(crate) async fn java(kind: Kind, queues: u32) -> Self {
        let name_server = match kind {
            Kind::Plain => "IDEM_TEST_ROCKETMQ",
            Kind::Levels => "IDEM_TEST_ROCKETMQ_LEVELS",
        };
        Self::at(variable(name_server), queues).await
    }

    /// On the broker behind a name server.
    pub(crate) async fn at(name_server: String, queues: u32) -> Self {
        Self::of(Bench::connect(name_server).await.unwrap(), None).with_topic(queues).await
    }

    /// On a broker in this process.
    pub(crate) async fn embedded(kind: Kind, queues: u32) -> Self {
        let broker = match kind {
            Kind::Plain => EmbeddedBroker::builder(),
            Kind::Levels => EmbeddedBroker::builder()
                .message_delay_levels(["1s"; 18].join(" "))
                .transaction_check_interval(Duration::from_secs(1)),
        };
        let broker = broker.start().await.unwrap();
        Self::of(broker.bench(), Some(broker)).with_topic(queues).await
    }

    /// On Apache RocketMQ in Java, where the topic is still to be created.
    pub(crate) async fn without_topic() -> Self {
        Self::of(Bench::connect(variable("IDEM_TEST_ROCKETMQ")).await.unwrap(), None)
    }

    fn of(bench: Bench, broker: Option<EmbeddedBroker>) -> Self {
        kit::seeing();
        Self { bench, topic: servers::unique("topic"), group: servers::unique("group"), broker }
    }

    async fn with_topic(self, queues: u32) -> Self {
        self.bench.create_topic(&self.topic, queues).await.unwrap();
        self
    }

    /// Creates one more.
    pub(crate) async fn another_topic(&self, queues: u32) -> String {
        let topic = servers::unique("topic");
        self.bench.create_topic(&topic, queues).await.unwrap();
        topic
    }

    pub(crate) fn name_server(&self) -> &str {
        self.bench.name_server()
    }

    /// The name of an instance of a broadcast group.
    pub(crate) fn instance(&self, name: &str) -> String {
        format!("{}-{name}", self.group)
    }

    pub(crate) fn consumer(&self) -> Builder<NoStoreYet> {
        Consumer::builder(&self.group).name_server(self.name_server())
    }

    /// A consumer with its store and handlers.
    pub(crate) fn member(
        &self,
        store: &(impl idem_rocketmq::store::Store + Clone),
        routes: impl IntoIterator<Item = Route>,
    ) -> Builder<Arc<dyn idem_rocketmq::store::Store>> {
        self.consumer().store(store.clone()).handlers(routes)
    }

    /// A producer of idem's.
    pub(crate) fn sender(&self) -> idem_rocketmq::producer::ProducerBuilder {
        Producer::builder(format!("{}-p", self.group)).name_server(self.name_server())
    }

    pub(crate) fn order(&self, id: impl std::fmt::Display) -> Outgoing {
        kit::order(&self.topic, id)
    }

    pub(crate) fn orders(&self, count: usize) -> Vec<Outgoing> {
        kit::orders(&self.topic, count)
    }

    pub(crate) async fn send(&self, message: Outgoing) {
        self.bench.producer().send(message).await.unwrap();
    }

    /// In batches, as [`confirmed`] sends them.
    pub(crate) async fn send_all(&self, messages: Vec<Outgoing>) {
        confirmed(&self.bench.producer(), messages).await;
    }

    /// How many messages the topic has had.
    pub(crate) async fn stored(&self) -> usize {
        self.bench.read_all(&self.topic).await.unwrap().len()
    }

    pub(crate) async fn dead_letters(&self) -> Vec<StoredMessage> {
        self.bench.read_all(&self.dead_letter_topic()).await.unwrap()
    }

    /// Waits for so many.
    pub(crate) async fn until_dead_letters(&self, wanted: usize) -> Vec<StoredMessage> {
        kit::until_equal("dead letters", wanted, SOON, async || self.queued_dead_letters().await.len()).await;
        self.dead_letters().await
    }

    /// Those that can be seen by now, for whoever looks again and again.
    pub(crate) async fn queued_dead_letters(&self) -> Vec<StoredMessage> {
        self.bench.read_queued(&self.dead_letter_topic()).await.unwrap()
    }

    pub(crate) fn dead_letter_topic(&self) -> String {
        format!("%DLQ%{}", self.group)
    }

    /// The retries that the broker has stored.
    pub(crate) async fn retries(&self) -> Vec<StoredMessage> {
        self.bench.read_all(&self.retry_topic()).await.unwrap()
    }

    fn retry_topic(&self) -> String {
        format!("%RETRY%{}", self.group)
    }

    /// The messages of the topic that the group has not acked, when its offsets are stored.
    pub(crate) async fn backlog(&self) -> u64 {
        self.bench.backlog(&self.group, &self.topic).await.unwrap()
    }

    /// Waits until the group has acked everything, as its stored offsets say.
    pub(crate) async fn until_acked(&self) {
        kit::until("all is acked", SOON, async || {
            self.backlog().await == 0
                && self.bench.backlog(&self.group, &self.retry_topic()).await.unwrap() == 0
        })
        .await;
    }

    /// Messages that the group has not acked, also those that a delay still hides from it.
    pub(crate) async fn left(&self) -> u64 {
        // That something is left is seen in the queues; that nothing is takes the costly look.
        match self.left_by(async |topic| self.bench.read_queued(topic).await.unwrap()).await {
            0 => self.left_by(async |topic| self.bench.read_all(topic).await.unwrap()).await,
            left => left,
        }
    }

    /// A message goes from its topic to the delay and from there to the retry topic, so the questions are asked in
    /// an order in which none can slip through between two of them. The last one is costly.
    async fn left_by(&self, read: impl AsyncFn(&str) -> Vec<StoredMessage>) -> u64 {
        let retries = self.retry_topic();
        let delivered = read(&retries).await.len();
        let open = self.backlog().await + self.bench.backlog(&self.group, &retries).await.unwrap();
        if open > 0 {
            return open;
        }
        let hidden = self.delayed_by(read).await.len().checked_sub(delivered);
        u64::try_from(hidden.expect("what is delivered again was delayed")).unwrap()
    }

    /// All that was ever delayed by level or by timer on its way back to the group.
    pub(crate) async fn delayed(&self) -> Vec<StoredMessage> {
        self.delayed_by(async |topic| self.bench.read_all(topic).await.unwrap()).await
    }

    async fn delayed_by(&self, read: impl AsyncFn(&str) -> Vec<StoredMessage>) -> Vec<StoredMessage> {
        let retries = self.retry_topic();
        let mut delayed = Vec::new();
        for delays in ["SCHEDULE_TOPIC_XXXX", "rmq_sys_wheel_timer"] {
            let all = read(delays).await;
            delayed
                .extend(all.into_iter().filter(|message| message.property("REAL_TOPIC") == Some(&retries)));
        }
        delayed
    }

    /// How many messages of the group have ended so.
    pub(crate) fn counted(&self, outcome: &str) -> u64 {
        counted("idem_messages_total", &[("group", &self.group), ("outcome", outcome)])
    }

    pub(crate) fn duplicates(&self) -> u64 {
        self.counted("duplicate")
    }

    /// Ends the broker, where it is embedded.
    pub(crate) async fn shutdown(&self) {
        if let Some(broker) = &self.broker {
            broker.shutdown().await;
        }
    }
}

/// Says what happened where a test fails. The client keeps the offsets of broadcast instances in the home directory.
impl Drop for Place {
    fn drop(&mut self) {
        if std::thread::panicking() {
            kit::print_events(&self.group);
        }
        let Some(home) = std::env::var_os("HOME") else { return };
        let client = format!("broadcast@{}", self.instance(""));
        let clients = std::fs::read_dir(Path::new(&home).join(".rocketmq_offsets"));
        for entry in clients.into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(&client) {
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
    }
}

/// Sends batches, each until the broker has confirmed it: on a busy machine an answer can come too late, and a batch is
/// there twice then.
pub(crate) async fn confirmed(producer: &embedded::Producer, messages: Vec<Outgoing>) {
    for batch in messages.chunks(100) {
        let begun = Instant::now();
        while let Err(error) = producer.send_all(batch.to_vec()).await {
            assert!(begun.elapsed() < SOON, "{error}");
        }
    }
}

/// A topic for attributes, which take constants: its name is one that no other run has used.
#[derive(Clone, Copy)]
pub(crate) struct OfThisRun(pub(crate) &'static str);

impl From<OfThisRun> for String {
    fn from(topic: OfThisRun) -> Self {
        static RUN: LazyLock<String> = LazyLock::new(|| servers::unique("run"));
        format!("{}_{}", topic.0, *RUN)
    }
}

/// Each function as a test on the embedded broker and on Apache RocketMQ in Java, of one kind and with a topic of so many
/// queues.
macro_rules! on_both {
    ($($(#[$doc:meta])* async fn $name:ident($place:ident: $kind:ident of $queues:literal) $body:block)*) => {
        $($(#[$doc])* async fn $name($place: $crate::support::place::Place) $body)*

        mod embedded {
            use $crate::support::place::{Kind, Place};
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name(Place::embedded(Kind::$kind, $queues).await).await;
            })*
        }

        mod java {
            use $crate::support::place::{Kind, Place};
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name(Place::java(Kind::$kind, $queues).await).await;
            })*
        }
    };
}

pub(crate) use on_both;

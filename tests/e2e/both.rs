//! Tests that run on the embedded broker and on Apache RocketMQ in Java alike.

use std::path::Path;

use idem_rocketmq::embedded::{Bench, EmbeddedBroker, StoredMessage};

use crate::kit::{self, SOON, counted};
use crate::servers;

/// A broker with a topic and a group that no other test has.
pub(crate) struct Place {
    pub(crate) bench: Bench,
    pub(crate) topic: String,
    pub(crate) group: String,
    /// Lives as long as the test.
    _broker: Option<EmbeddedBroker>,
}

impl Place {
    pub(crate) async fn embedded(queues: u32) -> Self {
        kit::seeing();
        let broker = EmbeddedBroker::start().await.unwrap();
        Self::at(broker.bench(), Some(broker), queues).await
    }

    pub(crate) async fn java(queues: u32) -> Self {
        Self::at(Bench::connect(kit::java()).await.unwrap(), None, queues).await
    }

    async fn at(bench: Bench, broker: Option<EmbeddedBroker>, queues: u32) -> Self {
        let (topic, group) = (servers::unique("topic"), servers::unique("group"));
        bench.create_topic(&topic, queues).await.unwrap();
        Self { bench, topic, group, _broker: broker }
    }

    /// The name of an instance of a broadcast group.
    pub(crate) fn instance(&self, name: &str) -> String {
        format!("{}-{name}", self.group)
    }

    pub(crate) async fn dead_letters(&self) -> Vec<StoredMessage> {
        self.bench.read_all(&format!("%DLQ%{}", self.group)).await.unwrap()
    }

    pub(crate) async fn until_acked(&self) {
        kit::until("all is acked", SOON, async || {
            self.bench.backlog(&self.group, &self.topic).await.unwrap() == 0
        })
        .await;
    }

    pub(crate) fn duplicates(&self) -> u64 {
        counted("idem_messages_total", &[("group", &self.group), ("outcome", "duplicate")])
    }
}

/// The client keeps the offsets of broadcast instances in the home directory.
impl Drop for Place {
    fn drop(&mut self) {
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

/// Each function as a test on both brokers, with a topic of so many queues.
macro_rules! on_both {
    ($($(#[$doc:meta])* async fn $name:ident($place:ident of $queues:literal) $body:block)*) => {
        $($(#[$doc])* async fn $name($place: $crate::both::Place) $body)*

        mod embedded {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name($crate::both::Place::embedded($queues).await).await;
            })*
        }

        mod java {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name($crate::both::Place::java($queues).await).await;
            })*
        }
    };
}

pub(crate) use on_both;

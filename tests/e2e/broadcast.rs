//! Broadcasting, on the embedded broker and on Apache RocketMQ in Java.

use std::path::Path;
use std::time::Duration;

use idem_rocketmq::embedded::{Bench, EmbeddedBroker, Outgoing};
use idem_rocketmq::prelude::*;
use idem_rocketmq::{ConsumeFrom, RunningConsumer};

use crate::kit::{self, Order, Runs, SOON, counted};
use crate::servers;

/// A broker with a topic and a group that no other test has.
struct Place {
    bench: Bench,
    topic: String,
    group: String,
    /// Lives as long as the test.
    _broker: Option<EmbeddedBroker>,
}

impl Place {
    async fn embedded() -> Self {
        kit::seeing();
        let broker = EmbeddedBroker::start().await.unwrap();
        Self::at(broker.bench(), Some(broker)).await
    }

    async fn java() -> Self {
        Self::at(Bench::connect(kit::java()).await.unwrap(), None).await
    }

    async fn at(bench: Bench, broker: Option<EmbeddedBroker>) -> Self {
        let (topic, group) = (servers::unique("prices"), servers::unique("broadcast"));
        bench.create_topic(&topic, 4).await.unwrap();
        Self { bench, topic, group, _broker: broker }
    }

    fn instance(&self, name: &str) -> String {
        format!("{}-{name}", self.group)
    }

    async fn send(&self, numbers: std::ops::Range<usize>) {
        let messages: Vec<Outgoing> = numbers.map(|number| kit::order(&self.topic, number)).collect();
        for message in messages {
            self.bench.producer().send(message).await.unwrap();
        }
    }

    async fn start(
        &self,
        name: &str,
        store: &MemoryStore,
        from: ConsumeFrom,
        route: Route,
    ) -> RunningConsumer {
        let consumer = Consumer::builder(&self.group).name_server(self.bench.name_server());
        let consumer = consumer.instance_name(self.instance(name)).consume_from(from);
        consumer.store(store.clone()).handlers([route.broadcast()]).start().await.unwrap()
    }

    fn duplicates(&self) -> u64 {
        counted("idem_messages_total", &[("group", &self.group), ("outcome", "duplicate")])
    }
}

/// The client keeps the offsets in the home directory.
impl Drop for Place {
    fn drop(&mut self) {
        let Some(home) = std::env::var_os("HOME") else { return };
        for name in ["one", "two"] {
            let client = format!("broadcast@{}", self.instance(name));
            let _ = std::fs::remove_dir_all(Path::new(&home).join(".rocketmq_offsets").join(client));
        }
    }
}

/// A test on both brokers.
macro_rules! on_both {
    ($($(#[$doc:meta])* async fn $name:ident($place:ident) $body:block)*) => {
        $($(#[$doc])* async fn $name($place: Place) $body)*

        mod embedded {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name(super::Place::embedded().await).await;
            })*
        }

        mod java {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name(super::Place::java().await).await;
            })*
        }
    };
}

on_both! {
    /// With one store, whose records are each instance's own.
    async fn every_instance_handles_every_message_once(place) {
        let store = MemoryStore::new();
        place.send(0..20).await;
        let (one, two) = (Runs::default(), Runs::default());
        let first = place.start("one", &store, ConsumeFrom::First, kit::counting(&place.topic, &one)).await;
        let second = place.start("two", &store, ConsumeFrom::First, kit::counting(&place.topic, &two)).await;
        place.send(20..40).await;
        place.send(30..40).await;
        one.until_total(40, SOON).await;
        two.until_total(40, SOON).await;
        kit::until("the duplicates are seen", SOON, async || place.duplicates() == 20).await;
        first.shutdown().await;
        second.shutdown().await;
        assert_eq!((one.total(), two.total()), (40, 40));
    }

    /// From the last offset, in queues of which some have never had a message.
    async fn what_came_while_an_instance_was_down_is_neither_skipped_nor_repeated(place) {
        let (store, runs) = (MemoryStore::new(), Runs::default());
        place.send(0..4).await;
        let route = || kit::counting(&place.topic, &runs);
        let first = place.start("one", &store, ConsumeFrom::Last, route()).await;
        place.send(4..5).await;
        runs.until_total(1, SOON).await;
        first.shutdown().await;
        place.send(5..25).await;
        let again = place.start("one", &store, ConsumeFrom::Last, route()).await;
        runs.until_total(21, SOON).await;
        place.send(25..26).await;
        runs.until_total(22, SOON).await;
        again.shutdown().await;
        assert_eq!((runs.of("3"), runs.of("4"), runs.of("5"), runs.keys()), (0, 1, 1, 22));
    }

    async fn a_failed_message_is_tried_again_in_the_process_and_then_a_dead_letter(place) {
        place.send(0..10).await;
        let (runs, seen) = (Runs::default(), Runs::default());
        let route = {
            let (runs, seen) = (runs.clone(), seen.clone());
            handler(&place.topic, move |order: Order, delivery: std::sync::Arc<Delivery>| {
                runs.add(&order.id);
                seen.add(delivery.message_id());
                let (id, run) = (order.id.clone(), runs.of(&order.id));
                async move {
                    match &*id {
                        "3" if run < 3 => Err("not yet"),
                        "7" => Err("never"),
                        _ => Ok(()),
                    }
                }
            })
        };
        let route = route.key(|order| order.id.clone()).max_attempts(4).backoff(Backoff::fixed(Duration::from_millis(100)));
        let consumer = place.start("one", &MemoryStore::new(), ConsumeFrom::First, route).await;
        runs.until_total(8 + 3 + 4, SOON).await;
        let letters = format!("%DLQ%{}", place.group);
        let letters = async || place.bench.read_all(&letters).await.unwrap();
        kit::until("a dead letter", SOON, async || !letters().await.is_empty()).await;
        consumer.shutdown().await;
        let letters = letters().await;
        let note = |name| letters[0].property(name).unwrap_or("none").to_owned();
        assert_eq!((note("IDEM_KEY"), note("IDEM_ATTEMPTS"), note("IDEM_REASON")), ("7".into(), "4".into(), "never".into()));
        assert_eq!((runs.of("3"), runs.of("7"), letters.len()), (3, 4, 1));
        assert_eq!(seen.keys(), 10, "the same messages, and no copies");
    }
}

//! Messages that wait keep no other handler's messages from being handled.
//!
//! Run alone: `cargo test --workspace --all-features --test e2e -- delivery::starve::`

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use idem_rocketmq::Backoff;
use idem_rocketmq::codec::Text;
use idem_rocketmq::embedded::Outgoing;
use idem_rocketmq::handler::{BoxFuture, handler_with};
use idem_rocketmq::prelude::*;
use idem_rocketmq::settings::StoreFailure;
use idem_rocketmq::store::{
    Answer, Answers, Claim, ClaimRequest, CompleteRequest, ReleaseRequest, RenewRequest, StoreError,
};

use crate::support::kit::{self, Order, Runs, SOON};
use crate::support::place::{Place, on_both};
use crate::support::servers::{self, Server};

/// More than the client's threads can hold, in calls of up to 32 messages.
const MANY: usize = 17_000;

/// How long a message of the healthy handler may take while the threads are being freed.
const QUICKLY: Duration = Duration::from_secs(10);

const FLAKY: &str = "flaky";

/// A quick handler on a topic of its own.
struct Healthy {
    topic: String,
    runs: Runs,
}

impl Healthy {
    async fn beside(place: &Place) -> Self {
        Self { topic: place.another_topic(4).await, runs: Runs::default() }
    }

    /// Only the first run of a flaky message fails.
    fn route(&self) -> Route {
        let runs = self.runs.clone();
        let healthy = handler(&self.topic, move |order: Order| {
            runs.add(&order.id);
            let fails = order.id == FLAKY && runs.of(FLAKY) == 1;
            async move { if fails { Err("not yet") } else { Ok(()) } }
        });
        healthy.key(|order| order.id.clone()).backoff(kit::secondly()).named("healthy")
    }

    /// A message that fails comes again.
    async fn comes_again(&self, place: &Place) {
        place.send(kit::order(&self.topic, FLAKY)).await;
        kit::until("a failed message is handled", QUICKLY, async || self.runs.of(FLAKY) == 2).await;
    }

    /// Its messages are handled, again and again.
    async fn goes_on(&self, place: &Place) {
        for number in 0..5 {
            let id = format!("healthy {}", self.runs.total() + number);
            place.send(kit::order(&self.topic, &id)).await;
            kit::until("a healthy message is handled", QUICKLY, async || self.runs.of(&id) > 0).await;
        }
    }
}

/// A store that answers no claim.
#[derive(Clone, Default)]
struct Away(MemoryStore);

impl idem_rocketmq::store::Store for Away {
    fn name(&self) -> &'static str {
        "away"
    }

    fn claim<'a>(&'a self, _: &'a [ClaimRequest]) -> BoxFuture<'a, Answers<Claim>> {
        Box::pin(async { Err(StoreError::unavailable("away")) })
    }

    fn renew<'a>(&'a self, batch: &'a [RenewRequest]) -> BoxFuture<'a, Answers<Answer>> {
        self.0.renew(batch)
    }

    fn complete<'a>(&'a self, batch: &'a [CompleteRequest]) -> BoxFuture<'a, Answers<Answer>> {
        self.0.complete(batch)
    }

    fn release<'a>(&'a self, batch: &'a [ReleaseRequest]) -> BoxFuture<'a, Answers<Answer>> {
        self.0.release(batch)
    }

    fn read<'a>(
        &'a self,
        key: &'a idem_core::RecordKey,
    ) -> BoxFuture<'a, Result<Option<idem_core::Record>, StoreError>> {
        self.0.read(key)
    }

    fn remove<'a>(
        &'a self,
        key: &'a idem_core::RecordKey,
        claim: Option<idem_core::Token>,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        self.0.remove(key, claim)
    }
}

fn undecodable(topic: &str, count: usize) -> Vec<Outgoing> {
    (0..count).map(|number| Outgoing::new(topic, format!("order {number}"))).collect()
}

fn text(topic: &str, runs: &Runs) -> Route {
    let seen = runs.clone();
    let reading = handler_with(topic, Text, move |text: String| {
        seen.add(&text);
        async {}
    });
    reading.key(String::clone)
}

/// How many messages have been held as undecodable.
fn held(handler: &str) -> usize {
    kit::events(|event| event.is("handler", handler) && event.is("what", "Undecodable")).len()
}

/// How many events say that messages of the topic were set aside.
fn said(place: &Place, level: tracing::Level) -> usize {
    let of_topic = |event: &kit::Event| event.is("topic", &place.topic) && event.is("group", &place.group);
    kit::events(|event| event.level == level && of_topic(event) && event.field("set_aside").is_some()).len()
}

on_both! {
    async fn a_topic_that_cannot_be_read_stops_no_other_handler(place: Plain of 16) {
        let (runs, wrong) = (Runs::default(), format!("wrong_{}", place.group));
        place.send_all(undecodable(&place.topic, MANY)).await;
        let healthy = Healthy::beside(&place).await;
        let routes = [kit::counting(&place.topic, &runs).named(wrong.clone()), healthy.route()];
        let bad = place.member(&MemoryStore::new(), routes).start().await.unwrap();
        kit::until("many are held", SOON, async || held(&wrong) >= MANY / 2).await;
        healthy.goes_on(&place).await;
        healthy.comes_again(&place).await;
        assert_eq!(said(&place, tracing::Level::WARN), 1);
        let begun = Instant::now();
        bad.shutdown().await;
        assert!(begun.elapsed() < QUICKLY * 2, "{:?}", begun.elapsed());
        assert!(place.dead_letters().await.len() <= 51);
        assert_eq!(place.retries().await.len(), 1, "the flaky one");

        let good = place.member(&MemoryStore::new(), [text(&place.topic, &runs), healthy.route()]);
        let good = good.start().await.unwrap();
        kit::until("all held ones are handled", SOON * 2, async || place.backlog().await == 0).await;
        good.shutdown().await;
        let letters: BTreeSet<_> = place.dead_letters().await.into_iter().map(|letter| letter.body).collect();
        assert!(letters.len() <= 51, "{}", letters.len());
        for number in 0..MANY {
            let body = format!("order {number}");
            assert!(runs.of(&body) == 1 || letters.contains(body.as_bytes()), "{body}");
        }
    }

    /// However many messages wait.
    async fn what_is_held_in_a_process_is_bounded(place: Plain of 4) {
        let (runs, wrong) = (Runs::default(), format!("wrong_{}", place.group));
        place.send_all(undecodable(&place.topic, 12_000)).await;
        let healthy = Healthy::beside(&place).await;
        let routes = [kit::counting(&place.topic, &runs).named(wrong.clone()), healthy.route()];
        let bad = place.member(&MemoryStore::new(), routes).start().await.unwrap();
        kit::until("many are held", SOON, async || held(&wrong) >= 4_500).await;
        let steady = async || {
            let before = held(&wrong);
            tokio::time::sleep(Duration::from_secs(3)).await;
            held(&wrong) == before
        };
        kit::until("no more are taken in", SOON, steady).await;
        // Up to one call more of each queue, and what became a dead letter made room.
        assert!(held(&wrong) <= 4 * (2_000 + 2 * 32) + 51, "{}", held(&wrong));
        healthy.goes_on(&place).await;
        bad.shutdown().await;
    }

    /// A member that comes takes half of the queues; the first one gives up what it holds of them, and takes it up again
    /// when the other one goes.
    async fn what_is_held_moves_with_its_queue(place: Plain of 8) {
        const SENT: usize = 4_000;
        let (runs, wrong) = (Runs::default(), format!("wrong_{}", place.group));
        place.send_all(undecodable(&place.topic, SENT)).await;
        let healthy = Healthy::beside(&place).await;
        let routes = || [kit::counting(&place.topic, &runs).named(wrong.clone()), healthy.route()];
        let first = place.member(&MemoryStore::new(), routes()).start().await.unwrap();
        kit::until("most are held", SOON, async || held(&wrong) >= SENT / 2).await;
        for _ in 0..2 {
            let before = held(&wrong);
            let second = place.member(&MemoryStore::new(), routes()).start().await.unwrap();
            kit::until("the other one holds some", SOON, async || held(&wrong) > before + 500).await;
            healthy.goes_on(&place).await;
            second.shutdown().await;
            // The embedded broker tells nobody that a member has left: the others find out within 20 s.
            let before = held(&wrong);
            kit::until("the first one has them again", SOON, async || held(&wrong) > before + 500).await;
            healthy.goes_on(&place).await;
        }
        first.shutdown().await;
        assert!(place.retries().await.is_empty());
        let good = place.member(&MemoryStore::new(), [text(&place.topic, &runs), healthy.route()]);
        let good = good.start().await.unwrap();
        kit::until("all held ones are handled", SOON, async || place.backlog().await == 0).await;
        good.shutdown().await;
        // Each member has a tolerance of its own.
        let letters: BTreeSet<_> = place.dead_letters().await.into_iter().map(|letter| letter.body).collect();
        for number in 0..SENT {
            let body = format!("order {number}");
            assert!(runs.of(&body) == 1 || letters.contains(body.as_bytes()), "{body}");
        }
    }

    async fn a_handler_that_sleeps_stops_no_other_and_nothing_is_sent_back(place: Plain of 16) {
        let (begun, ended) = (Runs::default(), Runs::default());
        place.send_all(place.orders(MANY)).await;
        let healthy = Healthy::beside(&place).await;
        let asleep = kit::sleeping(&place.topic, &begun, &ended, SOON * 5);
        let member = place.member(&MemoryStore::new(), [asleep, healthy.route()]);
        let consumer = member.shutdown_timeout(Duration::ZERO).start().await.unwrap();
        kit::until("the handler is full", SOON, async || begun.total() >= 64).await;
        healthy.goes_on(&place).await;
        consumer.shutdown().await;
        assert!(place.retries().await.is_empty());
        assert!(place.backlog().await >= MANY as u64);
    }

    async fn a_store_that_is_away_for_one_handler_stops_no_other(place: Plain of 16) {
        place.send_all(place.orders(MANY)).await;
        let (healthy, runs) = (Healthy::beside(&place).await, Runs::default());
        let held = kit::counting(&place.topic, &runs).named("held");
        let routes = [held, healthy.route().store_failure(StoreFailure::Open)];
        let member = place.member(&Away::default(), routes).shutdown_timeout(Duration::from_secs(1));
        let consumer = member.start().await.unwrap();
        kit::until("messages are set aside", SOON, async || said(&place, tracing::Level::WARN) > 0).await;
        healthy.goes_on(&place).await;
        consumer.shutdown().await;
        assert_eq!(runs.total(), 0);
        assert!(place.retries().await.is_empty());
    }

    /// Nobody but this process would get them, so they wait here.
    async fn failures_of_a_broadcast_group_stop_no_other_handler(place: Plain of 16) {
        place.send_all(place.orders(MANY)).await;
        let healthy = Healthy::beside(&place).await;
        let failed = Runs::default();
        let failing = {
            let failed = failed.clone();
            handler(&place.topic, move |order: Order| {
                failed.add(&order.id);
                async { Err::<(), _>("not yet") }
            })
        };
        let failing = failing.key(|order| order.id.clone()).backoff(Backoff::fixed(SOON * 10));
        let routes = [failing.broadcast(), healthy.route().broadcast()];
        let member = place.member(&MemoryStore::new(), routes).instance_name(place.instance("one"));
        let consumer = member.start().await.unwrap();
        kit::until("many have failed", SOON, async || failed.total() >= MANY / 2).await;
        healthy.goes_on(&place).await;
        let begun = Instant::now();
        consumer.shutdown().await;
        assert!(begun.elapsed() < QUICKLY * 2, "{:?}", begun.elapsed());

        let runs = Runs::default();
        let routes = [kit::counting(&place.topic, &runs).broadcast(), healthy.route().broadcast()];
        let member = place.member(&MemoryStore::new(), routes).instance_name(place.instance("one"));
        let consumer = member.start().await.unwrap();
        kit::until("all are handled", SOON * 2, async || runs.keys() == MANY).await;
        consumer.shutdown().await;
    }

    async fn held_queues_that_are_consumed_in_order_stop_no_other_handler(place: Plain of 16) {
        let (runs, wrong) = (Runs::default(), format!("wrong_{}", place.group));
        place.send_all(undecodable(&place.topic, 2_000)).await;
        let healthy = Healthy::beside(&place).await;
        let bad = kit::counting(&place.topic, &runs).named(wrong.clone()).orderly();
        let member = place.member(&MemoryStore::new(), [bad, healthy.route().orderly()]);
        let consumer = member.start().await.unwrap();
        kit::until("queues hold", SOON, async || held(&wrong) >= 8).await;
        healthy.goes_on(&place).await;
        consumer.shutdown().await;
        assert!(place.backlog().await >= 2_000 - 60);
    }
}

/// Nobody may write to the group's retry topic.
#[tokio::test(flavor = "multi_thread")]
async fn copies_that_a_broker_refuses_stop_no_other_handler() {
    let place = Place::plain(16).await;
    let healthy = Healthy::beside(&place).await;
    let failed = Runs::default();
    let routes = || {
        let failed = failed.clone();
        let failing = handler(&place.topic, move |order: Order| {
            failed.add(&order.id);
            async { Err::<(), _>("no") }
        });
        [failing.key(|order| order.id.clone()).backoff(kit::secondly()), healthy.route()]
    };
    let store = MemoryStore::new();
    // The broker makes the retry topic when the group comes.
    place.member(&store, routes()).start().await.unwrap().shutdown().await;
    let retries = format!("%RETRY%{}", place.group);
    let list = servers::admin(Server::Plain, &["clusterList"]);
    let broker = list.split_whitespace().find(|word| word.starts_with("127.0.0.1:")).unwrap().to_owned();
    servers::admin(
        Server::Plain,
        &["updateTopic", "-t", &retries, "-b", &broker, "-r", "1", "-w", "1", "-p", "4"],
    );

    place.send_all(place.orders(MANY)).await;
    let member = place.member(&store, routes()).shutdown_timeout(Duration::from_secs(1));
    let consumer = member.start().await.unwrap();
    kit::until("many have failed", SOON * 2, async || failed.total() >= MANY / 3 * 2).await;
    assert!(kit::counted("idem_send_failures_total", &[("group", &place.group)]) > 0);
    healthy.goes_on(&place).await;
    consumer.shutdown().await;
    // A few went before the client knew that it may not write there.
    let stored = place.retries().await.len();
    assert!(stored < MANY / 3, "{stored} copies were stored");
}

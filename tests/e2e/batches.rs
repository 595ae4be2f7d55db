//! Handlers that take many messages at once.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use idem_rocketmq::embedded::EmbeddedBroker;
use idem_rocketmq::{BatchReturn, prelude::*};

use crate::kit::{self, Order, Runs, SOON};

/// The orders of one call, each with its attempt.
type Call = Vec<(String, u32)>;

/// The orders of each call, and how many are with a handler at one time. Cloning shares it.
#[derive(Clone, Default)]
pub(crate) struct Calls {
    seen: Arc<Mutex<Vec<Call>>>,
    now: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

impl Calls {
    /// A batch handler of orders that takes its time and ends as it is told.
    pub(crate) fn handler<R: BatchReturn + Send + 'static>(
        &self,
        topic: &str,
        time: Duration,
        end: impl Fn(&Batch<Order>) -> R + Send + Sync + 'static,
    ) -> Route {
        let calls = self.clone();
        batch_handler(topic, move |orders: Batch<Order>| {
            let (calls, end) = (calls.clone(), end(&orders));
            async move {
                let ids = orders.iter().map(|order| (order.id.clone(), order.attempt().number()));
                calls.seen.lock().unwrap().push(ids.collect());
                let now = calls.now.fetch_add(orders.len(), Ordering::AcqRel) + orders.len();
                calls.most.fetch_max(now, Ordering::AcqRel);
                tokio::time::sleep(time).await;
                calls.now.fetch_sub(orders.len(), Ordering::AcqRel);
                end
            }
        })
        .key(|order| order.id.clone())
        .named("batch")
    }

    pub(crate) fn all(&self) -> Vec<Call> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn total(&self) -> usize {
        self.all().iter().map(Vec::len).sum()
    }

    /// Each order's attempts, in their order.
    pub(crate) fn attempts(&self, id: &str) -> Vec<u32> {
        let all = self.all().into_iter().flatten();
        all.filter(|(seen, _)| seen == id).map(|(_, attempt)| attempt).collect()
    }

    pub(crate) async fn until_total(&self, wanted: usize) {
        kit::until_equal("messages in batches", wanted, SOON, async || self.total()).await;
    }
}

/// 17 fails always.
pub(crate) fn all_but_17(orders: &Batch<Order>) -> BatchFailures {
    let bad = orders.iter().enumerate().filter(|(_, order)| order.id == "17");
    bad.map(|(place, _)| (place, "the index refused it")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_is_handled_in_batches_without_a_duplicate_and_within_the_concurrency() {
    const KEYS: usize = 1_000;
    let broker = kit::broker("orders", 4).await;
    let calls = Calls::default();
    let twice = kit::orders("orders", KEYS).into_iter().flat_map(|order| [order.clone(), order]);
    broker.producer().send_all(twice.collect()).await.unwrap();
    let route = calls.handler("orders", Duration::from_millis(5), |_| ()).concurrency(50);
    let consumer = kit::member(&broker, "batches", &MemoryStore::new(), [route]).start().await.unwrap();

    let outcomes =
        |outcome| kit::counted("idem_messages_total", &[("group", "batches"), ("outcome", outcome)]);
    kit::until("all are settled", SOON, async || outcomes("completed") + outcomes("duplicate") >= 2_000)
        .await;
    consumer.shutdown().await;
    let (all, most) = (calls.all(), calls.most.load(Ordering::Acquire));
    println!("{} messages in {} calls, at most {most} at once", calls.total(), all.len());
    assert_eq!((calls.total(), outcomes("completed"), outcomes("duplicate")), (KEYS, 1_000, 1_000));
    assert!(all.len() * 8 < KEYS, "{} calls", all.len());
    let counted = kit::counted("idem_handler_batch_messages", &[("group", "batches")]);
    assert_eq!(counted, all.len() as u64);
    assert!(all.iter().all(|call| call.len() <= 32));
    assert!(most > 16 && most <= 50, "{most}");
    assert_eq!(kit::backlog(&broker, "batches", "orders").await, 0);
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_message_of_a_batch_is_retried_alone_until_it_is_a_dead_letter() {
    let broker = kit::broker("orders", 1).await;
    let calls = Calls::default();
    broker.producer().send_all(kit::orders("orders", 32)).await.unwrap();
    let route = calls.handler("orders", Duration::ZERO, all_but_17).max_attempts(2);
    let route = route.backoff(idem_rocketmq::Backoff::fixed(Duration::from_secs(1)));
    let consumer = kit::member(&broker, "one-bad", &MemoryStore::new(), [route]).start().await.unwrap();

    let letters = async || kit::dead_letters(&broker, "one-bad").await;
    kit::until_equal("dead letters", 1, SOON, async || letters().await.len()).await;
    consumer.shutdown().await;
    assert_eq!((calls.total(), calls.attempts("17"), calls.attempts("16")), (33, vec![1, 2], vec![1]));
    assert!(calls.all()[0].len() > 1);
    let letter = &letters().await[0];
    let properties = ["IDEM_KEY", "IDEM_ATTEMPTS", "IDEM_OUTCOME", "IDEM_REASON"];
    let said = properties.map(|name| letter.property(name).unwrap_or_default());
    assert_eq!(said, ["17", "2", "exhausted", "the index refused it"]);
    assert_eq!(kit::retries(&broker, "one-bad").await.len(), 1);
    assert_eq!(kit::backlog(&broker, "one-bad", "orders").await, 0);
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_and_a_panic_are_every_messages_and_cost_each_an_attempt() {
    let broker = kit::broker("orders", 1).await;
    let calls = Calls::default();
    broker.producer().send_all(kit::orders("orders", 20)).await.unwrap();
    let route = calls.handler("orders", Duration::ZERO, |orders| {
        // Copies may come in other batches: the first message decides for all of its call.
        match orders[0].attempt().number() {
            1 => panic!("a panic for all"),
            2 => Err("an error for all"),
            _ => Ok(()),
        }
    });
    let route = route.backoff(idem_rocketmq::Backoff::fixed(Duration::from_secs(1)));
    let consumer = kit::member(&broker, "for-all", &MemoryStore::new(), [route]).start().await.unwrap();
    kit::until("all are done", SOON, async || {
        kit::counted("idem_messages_total", &[("group", "for-all"), ("outcome", "completed")]) == 20
    })
    .await;
    consumer.shutdown().await;
    for id in 0..20 {
        assert_eq!(calls.attempts(&id.to_string()), [2, 3], "a panic comes before the first call is noted");
    }
    let panicked = kit::counted("idem_messages_total", &[("group", "for-all"), ("outcome", "panicked")]);
    assert_eq!(panicked, 20);
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_lets_batches_finish_and_starts_no_other() {
    let broker = kit::broker("orders", 1).await;
    let (calls, store) = (Calls::default(), MemoryStore::new());
    broker.producer().send_all(kit::orders("orders", 40)).await.unwrap();
    let route = calls.handler("orders", Duration::from_secs(2), |_| ()).concurrency(8);
    let consumer = kit::member(&broker, "drain-batches", &store, [route]).start().await.unwrap();
    kit::until("a batch runs", SOON, async || calls.total() > 0).await;
    consumer.shutdown().await;
    let done = calls.total();
    assert!(done <= 16 && calls.now.load(Ordering::Acquire) == 0, "{done}");

    let runs = Runs::default();
    let route = kit::counting("orders", &runs);
    let next = kit::member(&broker, "drain-batches", &store, [route]).start().await.unwrap();
    runs.until_total(40 - done, SOON).await;
    next.shutdown().await;
    assert!(kit::retries(&broker, "drain-batches").await.is_empty());
    assert_eq!(kit::backlog(&broker, "drain-batches", "orders").await, 0);
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_outlasts_the_shutdown_is_cancelled_and_costs_no_attempt() {
    let broker = kit::broker("orders", 1).await;
    let (calls, store) = (Calls::default(), MemoryStore::new());
    broker.producer().send_all(kit::orders("orders", 10)).await.unwrap();
    let route = calls.handler("orders", Duration::from_secs(200), |_| ());
    let member = kit::member(&broker, "cut", &store, [route]).shutdown_timeout(Duration::from_secs(1));
    let consumer = member.start().await.unwrap();
    calls.until_total(10).await;
    consumer.shutdown().await;

    let calls = Calls::default();
    let route = calls.handler("orders", Duration::ZERO, |_| ());
    let begun = Instant::now();
    let next = kit::member(&broker, "cut", &store, [route]).start().await.unwrap();
    calls.until_total(10).await;
    assert!(begun.elapsed() < Duration::from_secs(20), "the keys were given back before their leases ended");
    next.shutdown().await;
    assert!(calls.all().iter().flatten().all(|(_, attempt)| *attempt == 1));
    broker.shutdown().await;
}

/// A batch handler waits for room for a whole batch, so that it may be slow while there is room for less. That it counts as
/// busy then is `who_wants_many_starts_waits_for_all_of_them_and_the_handler_is_busy_meanwhile`, in the engine's tests.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_batch_handler_starves_no_other() {
    let broker: EmbeddedBroker =
        kit::quick_retries().topic("slow", 4).topic("quick", 4).start().await.unwrap();
    let (calls, quick) = (Calls::default(), Runs::default());
    let slow = calls.handler("slow", Duration::from_secs(30), |_| ()).concurrency(3);
    let routes = [slow, kit::counting("quick", &quick)];
    let member = kit::member(&broker, "slow-batches", &MemoryStore::new(), routes);
    let consumer = member.shutdown_timeout(Duration::ZERO).start().await.unwrap();
    for pair in kit::orders("slow", 1_500).chunks(2) {
        broker.producer().send_all(pair.to_vec()).await.unwrap();
    }
    broker.producer().send_all(kit::orders("quick", 500)).await.unwrap();
    quick.until_total(500, SOON).await;
    consumer.shutdown().await;
    broker.shutdown().await;
}

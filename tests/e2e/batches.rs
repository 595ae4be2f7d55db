//! Handlers that take many messages at once.
//!
//! Run alone: `cargo test --workspace --all-features --test e2e -- batches::`

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use idem_rocketmq::embedded::Outgoing;
use idem_rocketmq::handler::BatchReturn;
use idem_rocketmq::prelude::*;
use idem_rocketmq::{Backoff, batch_handler};

use crate::support::kit::{self, Order, Runs, SOON, note, why};
use crate::support::place::{Place, on_both};

/// The orders of one call, each with its attempt.
type Call = Vec<(String, u32)>;

/// The orders of each call, and how many are with a handler at one time. Cloning shares it.
#[derive(Clone, Default)]
struct Calls {
    seen: Arc<Mutex<Vec<Call>>>,
    now: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

impl Calls {
    /// A batch handler of orders that takes its time and ends as it is told.
    fn handler<R: BatchReturn + Send + 'static>(
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

    fn all(&self) -> Vec<Call> {
        self.seen.lock().unwrap().clone()
    }

    fn total(&self) -> usize {
        self.all().iter().map(Vec::len).sum()
    }

    /// Each order's attempts, in their order.
    fn attempts(&self, id: &str) -> Vec<u32> {
        let all = self.all().into_iter().flatten();
        all.filter(|(seen, _)| seen == id).map(|(_, attempt)| attempt).collect()
    }

    async fn until_total(&self, wanted: usize) {
        kit::until_equal("messages in batches", wanted, SOON, async || self.total()).await;
    }
}

/// Each message and a copy of it, side by side.
fn twice(messages: Vec<Outgoing>) -> Vec<Outgoing> {
    messages.into_iter().flat_map(|message| [message.clone(), message]).collect()
}

/// 17 fails always.
fn all_but_17(orders: &Batch<Order>) -> BatchFailures {
    let bad = orders.iter().enumerate().filter(|(_, order)| order.id == "17");
    bad.map(|(place, _)| (place, "the index refused it")).collect()
}

on_both! {
    async fn one_bad_message_of_a_batch_is_retried_alone_until_it_is_a_dead_letter(place: Plain of 1) {
        let calls = Calls::default();
        place.send_all(place.orders(32)).await;
        let route = calls.handler(&place.topic, Duration::ZERO, all_but_17).max_attempts(2).backoff(kit::secondly());
        let consumer = place.member(&MemoryStore::new(), [route]).start().await.unwrap();

        let letter = &place.until_dead_letters(1).await[0];
        consumer.shutdown().await;
        assert_eq!((calls.total(), calls.attempts("17"), calls.attempts("16")), (33, vec![1, 2], vec![1]));
        assert!(calls.all()[0].len() > 1);
        assert_eq!((note(letter, "IDEM_KEY"), why(letter)), ("17", ("exhausted", "2", "the index refused it")));
        assert_eq!(place.retries().await.len(), 1);
        assert_eq!(place.backlog().await, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_is_handled_in_batches_without_a_duplicate_and_within_the_concurrency() {
    const KEYS: usize = 1_000;
    let place = Place::plain(4).await;
    let calls = Calls::default();
    place.send_all(twice(place.orders(KEYS))).await;
    // A batch whose confirmation came late is there twice.
    let sent = place.stored().await;
    let route = calls.handler(&place.topic, Duration::from_millis(5), |_| ()).concurrency(50);
    let consumer = place.member(&MemoryStore::new(), [route]).start().await.unwrap();

    let settled = || usize::try_from(place.counted("completed") + place.duplicates()).unwrap();
    kit::until_equal("settled messages", sent, SOON, async || settled()).await;
    consumer.shutdown().await;
    let (all, most) = (calls.all(), calls.most.load(Ordering::Acquire));
    println!("{} messages in {} calls, at most {most} at once", calls.total(), all.len());
    assert_eq!((calls.total(), place.counted("completed"), settled()), (KEYS, KEYS as u64, sent));
    assert!(all.len() * 8 < KEYS, "{} calls", all.len());
    let counted = kit::counted("idem_handler_batch_messages", &[("group", &place.group)]);
    assert_eq!(counted, all.len() as u64);
    assert!(all.iter().all(|call| call.len() <= 32));
    assert!(most > 16 && most <= 50, "{most}");
    assert_eq!(place.backlog().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_have_no_duplicate_and_one_bad_message_comes_again_alone() {
    let place = Place::plain(2).await;
    let calls = Calls::default();
    place.send_all(twice(place.orders(300))).await;
    let route =
        calls.handler(&place.topic, Duration::ZERO, all_but_17).max_attempts(2).backoff(kit::secondly());
    let consumer = place.member(&MemoryStore::new(), [route]).start().await.unwrap();

    let letters = place.until_dead_letters(2).await;
    place.until_acked().await;
    consumer.shutdown().await;
    assert!(calls.all().len() < 150, "{} calls for 300 orders", calls.all().len());
    for id in (0..300).filter(|id| *id != 17) {
        assert_eq!(calls.attempts(&id.to_string()), [1], "{id}");
    }
    assert!(letters.iter().all(|letter| note(letter, "IDEM_KEY") == "17"), "{letters:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_and_a_panic_are_every_messages_and_cost_each_an_attempt() {
    let place = Place::plain(1).await;
    let calls = Calls::default();
    place.send_all(place.orders(20)).await;
    let route = calls.handler(&place.topic, Duration::ZERO, |orders| {
        // Copies may come in other batches: the first message decides for all of its call.
        match orders[0].attempt().number() {
            1 => panic!("a panic for all"),
            2 => Err("an error for all"),
            _ => Ok(()),
        }
    });
    // The timer gives the copies back second by second: the last second attempt is to come before the first third one.
    let route = route.backoff(Backoff::steps([1, 4].map(Duration::from_secs)));
    let consumer = place.member(&MemoryStore::new(), [route]).start().await.unwrap();
    kit::until("all are done", SOON, async || place.counted("completed") == 20).await;
    consumer.shutdown().await;
    for id in 0..20 {
        assert_eq!(calls.attempts(&id.to_string()), [2, 3], "a panic comes before the first call is noted");
    }
    assert_eq!(place.counted("panicked"), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_lets_batches_finish_and_starts_no_other() {
    let place = Place::plain(1).await;
    let (calls, store) = (Calls::default(), MemoryStore::new());
    place.send_all(place.orders(40)).await;
    let route = calls.handler(&place.topic, Duration::from_secs(2), |_| ()).concurrency(8);
    let consumer = place.member(&store, [route]).start().await.unwrap();
    kit::until("a batch runs", SOON, async || calls.total() > 0).await;
    consumer.shutdown().await;
    let done = calls.total();
    assert!(done <= 16 && calls.now.load(Ordering::Acquire) == 0, "{done}");

    let runs = Runs::default();
    let next = place.member(&store, [kit::counting(&place.topic, &runs)]).start().await.unwrap();
    runs.until_total(40 - done, SOON).await;
    next.shutdown().await;
    assert!(place.retries().await.is_empty());
    assert_eq!(place.backlog().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_outlasts_the_shutdown_is_cancelled_and_costs_no_attempt() {
    let place = Place::plain(1).await;
    let (calls, store) = (Calls::default(), MemoryStore::new());
    place.send_all(place.orders(10)).await;
    let route = calls.handler(&place.topic, Duration::from_secs(200), |_| ());
    let member = place.member(&store, [route]).shutdown_timeout(Duration::from_secs(1));
    let consumer = member.start().await.unwrap();
    calls.until_total(10).await;
    consumer.shutdown().await;

    let calls = Calls::default();
    let route = calls.handler(&place.topic, Duration::ZERO, |_| ());
    let begun = Instant::now();
    let next = place.member(&store, [route]).start().await.unwrap();
    calls.until_total(10).await;
    assert!(begun.elapsed() < Duration::from_secs(20), "the keys were given back before their leases ended");
    next.shutdown().await;
    assert!(calls.all().iter().flatten().all(|(_, attempt)| *attempt == 1));
}

/// A batch handler waits for room for a whole batch, so that it may be slow while there is room for less. That it counts as
/// busy then is `who_wants_many_starts_waits_for_all_of_them_and_the_handler_is_busy_meanwhile`, in the engine's tests.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_batch_handler_starves_no_other() {
    let place = Place::plain(4).await;
    let quick_topic = place.another_topic(4).await;
    let (calls, quick) = (Calls::default(), Runs::default());
    let slow = calls.handler(&place.topic, Duration::from_secs(30), |_| ()).concurrency(3);
    let member = place.member(&MemoryStore::new(), [slow, kit::counting(&quick_topic, &quick)]);
    let consumer = member.shutdown_timeout(Duration::ZERO).start().await.unwrap();
    for pair in place.orders(1_500).chunks(2) {
        place.send_all(pair.to_vec()).await;
    }
    place.send_all(kit::orders(&quick_topic, 500)).await;
    quick.until_total(500, SOON).await;
    consumer.shutdown().await;
}

//! Handlers that take their time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use idem_rocketmq::embedded::EmbeddedBroker;
use idem_rocketmq::prelude::*;

use crate::kit::{self, Order, Runs, SOON};

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_longer_than_its_lease_and_the_clients_patience_runs_once() {
    let broker = kit::broker("orders", 4).await;
    let (begun, ended) = (Runs::default(), Runs::default());
    let slow = kit::sleeping("orders", &begun, &ended, secs(40));
    let consumer = kit::member(&broker, "long", &MemoryStore::new(), [slow]).start().await.unwrap();
    broker.producer().send_all(kit::orders("orders", 8)).await.unwrap();

    ended.until_total(8, secs(75)).await;
    consumer.shutdown().await;
    assert_eq!((begun.total(), begun.keys()), (8, 8));
    assert!(kit::retries(&broker, "long").await.is_empty());
    assert_eq!(kit::backlog(&broker, "long", "orders").await, 0);
    broker.shutdown().await;
}

/// The client's own lane for listeners would send messages back that no listener has seen.
#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_of_slow_messages_is_not_sent_back() {
    let broker = kit::broker("orders", 4).await;
    let (begun, ended) = (Runs::default(), Runs::default());
    let slow = kit::sleeping("orders", &begun, &ended, secs(1)).concurrency(10);
    let consumer = kit::member(&broker, "backlog", &MemoryStore::new(), [slow]).start().await.unwrap();
    for order in kit::orders("orders", 100) {
        broker.producer().send(order).await.unwrap();
    }

    ended.until_total(100, secs(60)).await;
    consumer.shutdown().await;
    assert_eq!((begun.total(), begun.keys()), (100, 100));
    assert!(kit::retries(&broker, "backlog").await.is_empty());
    assert_eq!(kit::backlog(&broker, "backlog", "orders").await, 0);
    broker.shutdown().await;
}

/// Sends what `slow` and `quick` take, waits until all quick ones are done, and says how many slow ones are.
async fn quick_beside_slow(
    broker: EmbeddedBroker,
    group: &str,
    slow: Route,
    quick: Route,
    runs: (&Runs, &Runs),
    quick_count: usize,
    send: impl AsyncFnOnce(&EmbeddedBroker),
) {
    let store = MemoryStore::new();
    let member = kit::member(&broker, group, &store, [slow.concurrency(64), quick]);
    let consumer = member.shutdown_timeout(Duration::ZERO).start().await.unwrap();
    send(&broker).await;
    let begun = Instant::now();
    runs.1.until_total(quick_count, SOON).await;
    let (took, slow_done) = (begun.elapsed(), runs.0.total());
    consumer.shutdown().await;
    broker.shutdown().await;
    assert!(slow_done < 600, "{slow_done} slow messages were done before the quick ones, in {took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_handler_does_not_starve_one_of_another_topic() {
    let broker = kit::quick_retries().topic("slow", 4).topic("quick", 4).start().await.unwrap();
    let (begun, ended, quick) = (Runs::default(), Runs::default(), Runs::default());
    let routes = (kit::sleeping("slow", &begun, &ended, secs(5)), kit::counting("quick", &quick));
    quick_beside_slow(broker, "two-topics", routes.0, routes.1, (&ended, &quick), 500, async |broker| {
        broker.producer().send_all(kit::orders("slow", 3_000)).await.unwrap();
        kit::until("the slow handler is full", SOON, async || begun.total() >= 64).await;
        broker.producer().send_all(kit::orders("quick", 500)).await.unwrap();
    })
    .await;
}

/// Messages that come one by one make listener calls of one message each, and each call holds one of the client's
/// threads until its message is settled. A consumer has 400 of them: beyond 360, calls that wait for the slow handler
/// give theirs up, and their messages come again later.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_handler_whose_messages_come_one_by_one_starves_no_other() {
    let broker = kit::quick_retries().topic("slow", 4).topic("quick", 4).start().await.unwrap();
    let (begun, ended, quick) = (Runs::default(), Runs::default(), Runs::default());
    let routes = (kit::sleeping("slow", &begun, &ended, secs(30)), kit::counting("quick", &quick));
    quick_beside_slow(broker, "trickle", routes.0, routes.1, (&ended, &quick), 500, async |broker| {
        for order in kit::orders("slow", 600) {
            broker.producer().send(order).await.unwrap();
        }
        broker.producer().send_all(kit::orders("quick", 500)).await.unwrap();
    })
    .await;
}

/// The client keeps up to 1,000 messages of a queue that are not settled, and pulls no more of it beyond: a quick
/// message that lies further back waits until the slow ones in front of it are done.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_handler_does_not_starve_one_of_its_own_topic_within_what_the_client_pulls_ahead() {
    let broker = kit::quick_retries().topic("mixed", 4).start().await.unwrap();
    let (begun, ended, quick) = (Runs::default(), Runs::default(), Runs::default());
    let slow = kit::sleeping("mixed", &begun, &ended, secs(5)).tag("SLOW");
    let quick_route = kit::counting("mixed", &quick).tag("QUICK");
    quick_beside_slow(broker, "one-topic", slow, quick_route, (&ended, &quick), 300, async |broker| {
        let mixed = kit::orders("mixed", 2_100).into_iter().enumerate();
        let mixed = mixed.map(|(place, order)| order.tag(if place % 7 == 0 { "QUICK" } else { "SLOW" }));
        broker.producer().send_all(mixed.collect()).await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_failure_in_a_batch_is_the_only_message_that_comes_again_after_its_own_delay() {
    let broker = EmbeddedBroker::builder().topic("orders", 1).start().await.unwrap();
    broker.producer().send_all(kit::orders("orders", 32)).await.unwrap();
    let runs: Arc<Mutex<Vec<(String, u32, Instant)>>> = Arc::default();
    let seen = runs.clone();
    let route = handler("orders", move |order: Order, attempt: Attempt| {
        seen.lock().unwrap().push((order.id.clone(), attempt.number(), Instant::now()));
        async move {
            if order.id == "17" && attempt.number() == 1 {
                return Err(Retry::after(secs(5)).into());
            }
            HandlerResult::Ok(())
        }
    })
    .key(|order| order.id.clone());
    let consumer = kit::member(&broker, "one-of-32", &MemoryStore::new(), [route]).start().await.unwrap();

    kit::until_equal("runs", 33, SOON, async || runs.lock().unwrap().len()).await;
    consumer.shutdown().await;
    let runs = runs.lock().unwrap().clone();
    let of_17: Vec<_> = runs.iter().filter(|(id, ..)| id == "17").collect();
    assert_eq!((of_17.len(), of_17[1].1), (2, 2));
    let pause = of_17[1].2 - of_17[0].2;
    assert!(pause >= secs(5) && pause < secs(9), "{pause:?}");
    assert_eq!(kit::retries(&broker, "one-of-32").await.len(), 1);
    assert_eq!(kit::backlog(&broker, "one-of-32", "orders").await, 0);
    broker.shutdown().await;
}

/// Both messages are of one call, and begin on its thread.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_blocks_its_thread_holds_no_completion_back() {
    let broker = kit::broker("blocked", 1).await;
    broker.producer().send_all(kit::orders("blocked", 2)).await.unwrap();
    let (blocks, released) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let route = {
        let (blocks, released) = (blocks.clone(), released.clone());
        handler("blocked", move |order: Order| {
            let (blocks, released) = (blocks.clone(), released.clone());
            async move {
                let begun = Instant::now();
                while order.id == "1" && !released.load(Ordering::SeqCst) && begun.elapsed() < SOON {
                    blocks.store(true, Ordering::SeqCst);
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
        })
    };
    let route = route.key(|order| order.id.clone());
    let consumer = kit::member(&broker, "blocked", &MemoryStore::new(), [route]).start().await.unwrap();
    kit::until("one blocks", SOON, async || blocks.load(Ordering::SeqCst)).await;
    let completed = || kit::counted("idem_messages_total", &[("group", "blocked"), ("outcome", "completed")]);
    kit::until("the other one is completed", SOON / 3, async || completed() == 1).await;
    released.store(true, Ordering::SeqCst);
    kit::until("both are completed", SOON, async || completed() == 2).await;
    consumer.shutdown().await;
    broker.shutdown().await;
}

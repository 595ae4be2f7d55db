//! Slow handlers keep their leases and hold up no others.
//!
//! Run alone: `cargo test --workspace --all-features --test e2e -- delivery::slow::`

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use idem_rocketmq::prelude::*;

use crate::support::kit::{self, Order, Runs, SOON};
use crate::support::place::Place;

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Waits until a handler is done with all orders, which it has had once.
async fn until_done_once(place: &Place, orders: usize, begun: &Runs, ended: &Runs, deadline: Duration) {
    ended.until_total(orders, deadline).await;
    place.until_acked().await;
    assert_eq!((begun.total(), begun.keys()), (orders, orders));
    assert!(place.retries().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_longer_than_its_lease_and_the_clients_patience_runs_once() {
    let place = Place::plain(4).await;
    let (begun, ended) = (Runs::default(), Runs::default());
    let slow = kit::sleeping(&place.topic, &begun, &ended, secs(40));
    let consumer = place.member(&MemoryStore::new(), [slow]).start().await.unwrap();
    place.send_all(place.orders(8)).await;

    until_done_once(&place, 8, &begun, &ended, secs(75)).await;
    consumer.shutdown().await;
}

/// The client's own lane for listeners would send messages back that no listener has seen.
#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_of_slow_messages_is_not_sent_back() {
    let place = Place::plain(4).await;
    let (begun, ended) = (Runs::default(), Runs::default());
    let slow = kit::sleeping(&place.topic, &begun, &ended, secs(1)).concurrency(10);
    let consumer = place.member(&MemoryStore::new(), [slow]).start().await.unwrap();
    for order in place.orders(100) {
        place.send(order).await;
    }

    until_done_once(&place, 100, &begun, &ended, SOON).await;
    consumer.shutdown().await;
}

/// Sends what `slow` and `quick` take, waits until all quick ones are done, and looks at how many slow ones are.
async fn quick_beside_slow(
    place: &Place,
    slow: Route,
    quick: Route,
    runs: (&Runs, &Runs),
    quick_count: usize,
    send: impl AsyncFnOnce(),
) {
    let member = place.member(&MemoryStore::new(), [slow.concurrency(64), quick]);
    let consumer = member.shutdown_timeout(Duration::ZERO).start().await.unwrap();
    send().await;
    let begun = Instant::now();
    runs.1.until_total(quick_count, SOON).await;
    let (took, slow_done) = (begun.elapsed(), runs.0.total());
    consumer.shutdown().await;
    assert!(slow_done < 600, "{slow_done} slow messages were done before the quick ones, in {took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_handler_does_not_starve_one_of_another_topic() {
    let place = Place::plain(4).await;
    let other = place.another_topic(4).await;
    let (begun, ended, quick) = (Runs::default(), Runs::default(), Runs::default());
    let slow = kit::sleeping(&place.topic, &begun, &ended, secs(5));
    quick_beside_slow(&place, slow, kit::counting(&other, &quick), (&ended, &quick), 500, async || {
        place.send_all(place.orders(3_000)).await;
        kit::until("the slow handler is full", SOON, async || begun.total() >= 64).await;
        place.send_all(kit::orders(&other, 500)).await;
    })
    .await;
}

/// Messages that come one by one make listener calls of one message each, and each call holds one of the client's
/// threads until its message is settled, or until threads are short and it is set aside.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_handler_whose_messages_come_one_by_one_starves_no_other() {
    let place = Place::plain(4).await;
    let other = place.another_topic(4).await;
    let (begun, ended, quick) = (Runs::default(), Runs::default(), Runs::default());
    let slow = kit::sleeping(&place.topic, &begun, &ended, secs(30));
    quick_beside_slow(&place, slow, kit::counting(&other, &quick), (&ended, &quick), 500, async || {
        for order in place.orders(600) {
            place.send(order).await;
        }
        place.send_all(kit::orders(&other, 500)).await;
    })
    .await;
}

/// The client keeps up to 1,000 messages of a queue that are not settled, and pulls no more of it beyond: a quick
/// message that lies further back waits until the slow ones in front of it are done.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_handler_does_not_starve_one_of_its_own_topic_within_what_the_client_pulls_ahead() {
    let place = Place::plain(4).await;
    let (begun, ended, quick) = (Runs::default(), Runs::default(), Runs::default());
    let slow = kit::sleeping(&place.topic, &begun, &ended, secs(5)).tag("SLOW");
    let quick_route = kit::counting(&place.topic, &quick).tag("QUICK");
    quick_beside_slow(&place, slow, quick_route, (&ended, &quick), 300, async || {
        let mixed = place.orders(2_100).into_iter().enumerate();
        let mixed = mixed.map(|(at, order)| order.tag(if at % 7 == 0 { "QUICK" } else { "SLOW" }));
        place.send_all(mixed.collect()).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_failure_in_a_batch_is_the_only_message_that_comes_again_after_its_own_delay() {
    let place = Place::plain(1).await;
    place.send_all(place.orders(32)).await;
    let runs: Arc<Mutex<Vec<(String, u32, Instant)>>> = Arc::default();
    let seen = runs.clone();
    let route = handler(&place.topic, move |order: Order, attempt: Attempt| {
        seen.lock().unwrap().push((order.id.clone(), attempt.number(), Instant::now()));
        async move {
            if order.id == "17" && attempt.number() == 1 {
                return Err(Retry::after(secs(5)).into());
            }
            HandlerResult::Ok(())
        }
    })
    .key(|order| order.id.clone());
    let consumer = place.member(&MemoryStore::new(), [route]).start().await.unwrap();

    kit::until_equal("runs", 33, SOON, async || runs.lock().unwrap().len()).await;
    consumer.shutdown().await;
    let runs = runs.lock().unwrap().clone();
    let of_17: Vec<_> = runs.iter().filter(|(id, ..)| id == "17").collect();
    assert_eq!((of_17.len(), of_17[1].1), (2, 2));
    let pause = of_17[1].2 - of_17[0].2;
    assert!(pause >= secs(5) && pause < secs(9), "{pause:?}");
    assert_eq!(place.retries().await.len(), 1);
    assert_eq!(place.backlog().await, 0);
}

/// Both messages are of one call, and begin on its thread.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_blocks_its_thread_holds_no_completion_back() {
    let place = Place::plain(1).await;
    place.send_all(place.orders(2)).await;
    let (blocks, released) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let route = {
        let (blocks, released) = (blocks.clone(), released.clone());
        handler(&place.topic, move |order: Order| {
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
    let consumer = place.member(&MemoryStore::new(), [route]).start().await.unwrap();
    kit::until("one blocks", SOON, async || blocks.load(Ordering::SeqCst)).await;
    let completed = || place.counted("completed");
    kit::until("the other one is completed", SOON / 3, async || completed() == 1).await;
    released.store(true, Ordering::SeqCst);
    kit::until("both are completed", SOON, async || completed() == 2).await;
    consumer.shutdown().await;
}

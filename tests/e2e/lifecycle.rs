//! From start to end, and what a stop leaves behind.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use idem_rocketmq::prelude::*;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;
use tokio::runtime::Runtime;

use crate::kit::{self, Order, Runs, SOON};

const NEVER: Duration = Duration::from_hours(1);

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_lets_handlers_finish_and_starts_no_other() {
    let broker = kit::broker("orders", 2).await;
    let (begun, ended) = (Runs::default(), Runs::default());
    let route = kit::sleeping("orders", &begun, &ended, Duration::from_secs(3)).concurrency(5);
    broker.producer().send_all(kit::orders("orders", 20)).await.unwrap();
    let store = MemoryStore::new();
    let consumer = kit::member(&broker, "drain", &store, [route]).start().await.unwrap();
    begun.until_total(5, SOON).await;
    let asked = Instant::now();
    consumer.shutdown().await;
    assert!(asked.elapsed() < Duration::from_secs(8), "{:?}", asked.elapsed());
    assert_eq!((begun.total(), ended.total()), (5, 5));

    let next =
        kit::member(&broker, "drain", &store, [kit::counting("orders", &begun)]).start().await.unwrap();
    begun.until_total(20, SOON).await;
    next.shutdown().await;
    assert_eq!(begun.keys(), 20, "no key ran twice");
    assert!(kit::retries(&broker, "drain").await.is_empty());
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_outlasts_the_shutdown_is_cancelled_and_done_by_the_next_consumer_as_a_first_attempt()
{
    let broker = kit::broker("orders", 2).await;
    let (begun, ended) = (Runs::default(), Runs::default());
    let route = kit::sleeping("orders", &begun, &ended, NEVER).timeout(NEVER * 2);
    broker.producer().send_all(kit::orders("orders", 10)).await.unwrap();
    let store = MemoryStore::new();
    let member = kit::member(&broker, "cancel", &store, [route]);
    let consumer = member.shutdown_timeout(Duration::from_secs(1)).start().await.unwrap();
    begun.until_total(10, SOON).await;
    let asked = Instant::now();
    consumer.shutdown().await;
    let took = asked.elapsed();
    assert!(took > Duration::from_secs(1) && took < Duration::from_secs(8), "{took:?}");
    assert_eq!(kit::backlog(&broker, "cancel", "orders").await, 10);

    let attempts: Arc<Mutex<Vec<u32>>> = Arc::default();
    let seen = attempts.clone();
    let route = handler("orders", move |_: Order, attempt: Attempt| {
        seen.lock().unwrap().push(attempt.number());
        async {}
    })
    .key(|order| order.id.clone());
    let asked = Instant::now();
    let next = kit::member(&broker, "cancel", &store, [route]).start().await.unwrap();
    kit::until_equal("runs", 10, SOON, async || attempts.lock().unwrap().len()).await;
    assert!(asked.elapsed() < Duration::from_secs(20), "the keys were given back before their leases ended");
    next.shutdown().await;
    assert_eq!(*attempts.lock().unwrap(), [1; 10]);
    assert_eq!(ended.total(), 0);
    assert!(kit::retries(&broker, "cancel").await.is_empty());
    assert_eq!(kit::backlog(&broker, "cancel", "orders").await, 0);
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_under_load_loses_nothing_and_repeats_nothing() {
    const SENT: usize = 4_000;
    let broker = kit::broker("orders", 4).await;
    let (begun, ended, store) = (Runs::default(), Runs::default(), MemoryStore::new());
    broker.producer().send_all(kit::orders("orders", SENT)).await.unwrap();
    let mut stops = 0;
    while ended.total() < SENT {
        assert!(stops < 20, "{} of {SENT}", ended.total());
        let route = kit::sleeping("orders", &begun, &ended, Duration::from_millis(20)).named("load");
        let consumer = kit::member(&broker, "load", &store, [route]).start().await.unwrap();
        let wanted = (ended.total() + SENT / 3).min(SENT);
        kit::until("a third more is done", SOON, async || ended.total() >= wanted).await;
        consumer.shutdown().await;
        stops += 1;
    }
    assert_eq!((begun.total(), ended.total(), ended.keys()), (SENT, SENT, SENT));
    assert_eq!(kit::backlog(&broker, "load", "orders").await, 0);
    assert!(kit::retries(&broker, "load").await.is_empty());
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_consumer_stops_and_leaves_its_messages_to_the_next() {
    let broker = kit::broker("orders", 2).await;
    let (begun, ended) = (Runs::default(), Runs::default());
    let store = MemoryStore::new();
    let route = kit::sleeping("orders", &begun, &ended, NEVER).timeout(NEVER * 2);
    broker.producer().send_all(kit::orders("orders", 10)).await.unwrap();
    let consumer = kit::member(&broker, "dropped", &store, [route]).start().await.unwrap();
    begun.until_total(10, SOON).await;
    drop(consumer);

    let stopped =
        |event: &kit::Event| event.is("group", "dropped") && event.is("message", "consumer stopped");
    kit::until("it has stopped", SOON, async || !kit::events(stopped).is_empty()).await;
    broker.producer().send_all(kit::orders("orders", 20)).await.unwrap();
    let next = kit::member(&broker, "dropped", &store, [kit::counting("orders", &ended)]);
    let next = next.start().await.unwrap();
    kit::until_equal("keys", 20, SOON, async || ended.keys()).await;
    next.shutdown().await;
    assert_eq!((begun.total(), ended.total()), (10, 20));
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_whose_runtime_goes_away_stops_and_acks_nothing() {
    let broker = kit::broker("orders", 2).await;
    let (begun, ended) = (Runs::default(), Runs::default());
    let store = MemoryStore::new();
    let route = kit::sleeping("orders", &begun, &ended, NEVER).timeout(NEVER * 2).concurrency(8);
    broker.producer().send_all(kit::orders("orders", 40)).await.unwrap();
    let member = kit::member(&broker, "orphan", &store, [route]);
    let starting = move || {
        let user = Runtime::new().unwrap();
        let consumer = user.block_on(member.start()).unwrap();
        (user, consumer)
    };
    let (user, mut consumer) = tokio::task::spawn_blocking(starting).await.unwrap();
    begun.until_total(8, SOON).await;
    user.shutdown_background();
    tokio::time::timeout(SOON, consumer.ended()).await.expect("the consumer stops by itself");
    assert_eq!(kit::backlog(&broker, "orphan", "orders").await, 40);

    let next = kit::member(&broker, "orphan", &store, [kit::counting("orders", &ended)]);
    let next = next.start().await.unwrap();
    ended.until_total(40, Duration::from_mins(1)).await;
    next.shutdown().await;
    assert_eq!((begun.total(), ended.keys()), (8, 40));
    assert!(kit::retries(&broker, "orphan").await.is_empty());
    broker.shutdown().await;
}

const CHILD: &str = "IDEM_TEST_RUN_AGAINST";

/// The other half of [`a_signal_ends_run_after_the_handlers_have_finished`], in a process of its own: `main` of a
/// service, but for its arguments. Without them it does nothing.
#[tokio::test(flavor = "multi_thread")]
async fn service() {
    let Ok(name_server) = std::env::var(CHILD) else { return };
    let route = handler("orders", |order: Order| async move {
        println!("begun {}", order.id);
        tokio::time::sleep(Duration::from_secs(3)).await;
        println!("ended {}", order.id);
    });
    let route = route.key(|order| order.id.clone()).concurrency(4);
    Consumer::builder("service")
        .name_server(name_server)
        .store(MemoryStore::new())
        .handlers([route])
        .run()
        .await
        .unwrap();
    println!("returned");
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_signal_ends_run_after_the_handlers_have_finished() {
    for signal in ["TERM", "INT"] {
        let broker = kit::broker("orders", 2).await;
        broker.producer().send_all(kit::orders("orders", 10)).await.unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["lifecycle::service", "--exact", "--nocapture"])
            .env(CHILD, broker.name_server())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (mut begun, mut ended) = (BTreeSet::new(), BTreeSet::new());
        let (mut is_asked, mut has_returned) = (false, false);
        let reading = async {
            while let Some(line) = lines.next_line().await.unwrap() {
                if let Some(id) = line.split_once("begun ") {
                    assert!(!is_asked, "a handler begins after the signal");
                    begun.insert(id.1.to_owned());
                } else if let Some(id) = line.split_once("ended ") {
                    ended.insert(id.1.to_owned());
                }
                has_returned |= line.contains("returned");
                if begun.len() == 4 && !is_asked {
                    is_asked = true;
                    let pid = child.id().unwrap().to_string();
                    let sent = Command::new("kill").args([&format!("-{signal}"), &pid]).status().await;
                    assert!(sent.unwrap().success());
                }
            }
        };
        tokio::time::timeout(SOON, reading).await.expect("the process ends");
        assert!(child.wait().await.unwrap().success());
        assert_eq!(begun, ended, "{signal}");
        assert!(begun.len() == 4 && has_returned);
        assert!(kit::backlog(&broker, "service", "orders").await >= 6, "what has not begun is left");
        broker.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_panics_is_retried_and_harms_no_other() {
    let broker = kit::broker("orders", 1).await;
    let runs = Runs::default();
    let seen = runs.clone();
    let route = handler("orders", move |order: Order, attempt: Attempt| {
        seen.add(&order.id);
        // Also before the handler's future is made.
        assert!(order.id != "3" || attempt.number() > 1, "at once");
        async move {
            tokio::task::yield_now().await;
            assert!(order.id != "7", "while it runs");
        }
    })
    .key(|order| order.id.clone())
    .max_attempts(2);
    broker.producer().send_all(kit::orders("orders", 32)).await.unwrap();
    let consumer = kit::member(&broker, "panics", &MemoryStore::new(), [route]).start().await.unwrap();
    kit::until_equal("dead letters", 1, SOON, async || kit::dead_letters(&broker, "panics").await.len())
        .await;
    runs.until_total(34, SOON).await;
    consumer.shutdown().await;
    assert_eq!((runs.of("3"), runs.of("7"), runs.keys()), (2, 2, 32));
    let letter = &kit::dead_letters(&broker, "panics").await[0];
    let property = |name| letter.property(name).unwrap();
    assert_eq!((property("IDEM_KEY"), property("IDEM_ATTEMPTS")), ("7", "2"));
    assert_eq!(property("IDEM_REASON"), "the handler panicked");
    assert_eq!(kit::retries(&broker, "panics").await.len(), 2);
    assert_eq!(kit::backlog(&broker, "panics", "orders").await, 0);
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn handlers_of_one_group_each_get_their_topic_and_tags() {
    let broker = kit::quick_retries().topic("orders", 4).topic("refunds", 2).start().await.unwrap();
    let [paid, moved, refunds] = [(); 3].map(|()| Runs::default());
    let routes = [
        kit::counting("orders", &paid).tag("PAID").named("paid"),
        kit::counting("orders", &moved).tags(["SHIPPED", "LOST"]).named("moved"),
        kit::counting("refunds", &refunds).named("refunds"),
    ];
    // The same id under each tag: other work.
    for tag in ["PAID", "SHIPPED", "LOST", "OTHER"] {
        let messages = (0..50).map(|n| kit::order("orders", n).tag(tag));
        broker.producer().send_all(messages.collect()).await.unwrap();
    }
    let messages = (0..50).map(|n| match n % 2 {
        0 => kit::order("refunds", n).tag("PAID"),
        _ => kit::order("refunds", n),
    });
    broker.producer().send_all(messages.collect()).await.unwrap();
    let consumer = kit::member(&broker, "several", &MemoryStore::new(), routes).start().await.unwrap();
    paid.until_total(50, SOON).await;
    moved.until_total(100, SOON).await;
    refunds.until_total(50, SOON).await;
    consumer.shutdown().await;
    assert_eq!((paid.total(), moved.total(), refunds.total()), (50, 100, 50));
    assert_eq!((paid.keys(), moved.keys(), refunds.keys()), (50, 50, 50));
    assert!(kit::retries(&broker, "several").await.is_empty());
    broker.shutdown().await;
}

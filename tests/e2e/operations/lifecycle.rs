//! A consumer from its start to its end, and the messages that a stop leaves behind.
//!
//! Run alone: `cargo test --workspace --all-features --test e2e -- operations::lifecycle::`

use std::collections::BTreeSet;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use idem_rocketmq::prelude::*;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;
use tokio::runtime::Runtime;

use crate::support::kit::{self, Order, Runs, SOON, note};
use crate::support::place::{Place, on_both};

const NEVER: Duration = Duration::from_hours(1);

on_both! {
    async fn a_shutdown_lets_handlers_finish_and_starts_no_other(place: Plain of 2) {
        let (begun, ended) = (Runs::default(), Runs::default());
        let route = kit::sleeping(&place.topic, &begun, &ended, Duration::from_secs(3)).concurrency(5);
        place.send_all(place.orders(20)).await;
        let store = MemoryStore::new();
        let consumer = place.member(&store, [route]).start().await.unwrap();
        begun.until_total(5, SOON).await;
        let asked = Instant::now();
        consumer.shutdown().await;
        assert!(asked.elapsed() < Duration::from_secs(8), "{:?}", asked.elapsed());
        assert_eq!((begun.total(), ended.total()), (5, 5));

        let next = place.member(&store, [kit::counting(&place.topic, &begun)]).start().await.unwrap();
        begun.until_total(20, SOON).await;
        next.shutdown().await;
        assert_eq!(begun.keys(), 20, "no key ran twice");
        assert!(place.retries().await.is_empty());
    }

    async fn a_shutdown_under_load_loses_nothing_and_repeats_nothing(place: Plain of 4) {
        const SENT: usize = 4_000;
        let (begun, ended, store) = (Runs::default(), Runs::default(), MemoryStore::new());
        place.send_all(place.orders(SENT)).await;
        let mut stops = 0;
        while ended.total() < SENT {
            assert!(stops < 20, "{} of {SENT}", ended.total());
            let route = kit::sleeping(&place.topic, &begun, &ended, Duration::from_millis(20)).named("load");
            let consumer = place.member(&store, [route]).start().await.unwrap();
            let wanted = (ended.total() + SENT / 3).min(SENT);
            kit::until("a third more is done", SOON, async || ended.total() >= wanted).await;
            consumer.shutdown().await;
            stops += 1;
        }
        assert_eq!((begun.total(), ended.total(), ended.keys()), (SENT, SENT, SENT));
        assert_eq!(place.backlog().await, 0);
        assert!(place.retries().await.is_empty());
    }

    async fn a_handler_that_panics_is_retried_and_harms_no_other(place: Plain of 1) {
        let runs = Runs::default();
        let seen = runs.clone();
        let route = handler(&place.topic, move |order: Order, attempt: Attempt| {
            seen.add(&order.id);
            // Also before the handler's future is made.
            assert!(order.id != "3" || attempt.number() > 1, "at once");
            async move {
                tokio::task::yield_now().await;
                assert!(order.id != "7", "while it runs");
            }
        })
        .key(|order| order.id.clone())
        .max_attempts(2)
        .backoff(kit::secondly());
        place.send_all(place.orders(32)).await;
        let consumer = place.member(&MemoryStore::new(), [route]).start().await.unwrap();
        let letter = &place.until_dead_letters(1).await[0];
        runs.until_total(34, SOON).await;
        consumer.shutdown().await;
        assert_eq!((runs.of("3"), runs.of("7"), runs.keys()), (2, 2, 32));
        assert_eq!((note(letter, "IDEM_KEY"), note(letter, "IDEM_ATTEMPTS")), ("7", "2"));
        assert_eq!(note(letter, "IDEM_REASON"), "the handler panicked");
        assert_eq!(place.retries().await.len(), 2);
        assert_eq!(place.backlog().await, 0);
    }

    async fn handlers_of_one_group_each_get_their_topic_and_tags(place: Plain of 4) {
        let (orders, others) = (place.topic.as_str(), place.another_topic(2).await);
        let [paid, moved, refunds] = [(); 3].map(|()| Runs::default());
        let routes = [
            kit::counting(orders, &paid).tag("PAID").named("paid"),
            kit::counting(orders, &moved).tags(["SHIPPED", "LOST"]).named("moved"),
            kit::counting(&others, &refunds).named("refunds"),
        ];
        // The same id under each tag: other work.
        for tag in ["PAID", "SHIPPED", "LOST", "OTHER"] {
            place.send_all(place.orders(50).into_iter().map(|order| order.tag(tag)).collect()).await;
        }
        let messages = (0..50).map(|n| match n % 2 {
            0 => kit::order(&others, n).tag("PAID"),
            _ => kit::order(&others, n),
        });
        place.send_all(messages.collect()).await;
        let consumer = place.member(&MemoryStore::new(), routes).start().await.unwrap();
        paid.until_total(50, SOON).await;
        moved.until_total(100, SOON).await;
        refunds.until_total(50, SOON).await;
        consumer.shutdown().await;
        assert_eq!((paid.total(), moved.total(), refunds.total()), (50, 100, 50));
        assert_eq!((paid.keys(), moved.keys(), refunds.keys()), (50, 50, 50));
        assert!(place.retries().await.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_outlasts_the_shutdown_is_cancelled_and_done_by_the_next_consumer_as_a_first_attempt()
{
    let place = Place::plain(2).await;
    let (begun, ended) = (Runs::default(), Runs::default());
    let route = kit::sleeping(&place.topic, &begun, &ended, NEVER).timeout(NEVER * 2);
    place.send_all(place.orders(10)).await;
    let sent = place.stored().await as u64;
    let store = MemoryStore::new();
    let member = place.member(&store, [route]);
    let consumer = member.shutdown_timeout(Duration::from_secs(1)).start().await.unwrap();
    begun.until_total(10, SOON).await;
    let asked = Instant::now();
    consumer.shutdown().await;
    let took = asked.elapsed();
    assert!(took > Duration::from_secs(1) && took < Duration::from_secs(8), "{took:?}");
    assert_eq!(place.backlog().await, sent);

    let attempts: Arc<Mutex<Vec<u32>>> = Arc::default();
    let seen = attempts.clone();
    let route = handler(&place.topic, move |_: Order, attempt: Attempt| {
        seen.lock().unwrap().push(attempt.number());
        async {}
    })
    .key(|order| order.id.clone());
    let asked = Instant::now();
    let next = place.member(&store, [route]).start().await.unwrap();
    kit::until_equal("runs", 10, SOON, async || attempts.lock().unwrap().len()).await;
    assert!(asked.elapsed() < Duration::from_secs(20), "the keys were given back before their leases ended");
    next.shutdown().await;
    assert_eq!(*attempts.lock().unwrap(), [1; 10]);
    assert_eq!(ended.total(), 0);
    assert!(place.retries().await.is_empty());
    assert_eq!(place.backlog().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_consumer_stops_and_leaves_its_messages_to_the_next() {
    let place = Place::plain(2).await;
    let (begun, ended) = (Runs::default(), Runs::default());
    let store = MemoryStore::new();
    let route = kit::sleeping(&place.topic, &begun, &ended, NEVER).timeout(NEVER * 2);
    place.send_all(place.orders(10)).await;
    let consumer = place.member(&store, [route]).start().await.unwrap();
    begun.until_total(10, SOON).await;
    drop(consumer);

    let stopped =
        |event: &kit::Event| event.is("group", &place.group) && event.is("message", "consumer stopped");
    kit::until("it has stopped", SOON, async || !kit::events(stopped).is_empty()).await;
    place.send_all(place.orders(20)).await;
    let next = place.member(&store, [kit::counting(&place.topic, &ended)]).start().await.unwrap();
    kit::until_equal("keys", 20, SOON, async || ended.keys()).await;
    next.shutdown().await;
    assert_eq!((begun.total(), ended.total()), (10, 20));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_whose_runtime_goes_away_stops_and_acks_nothing() {
    let place = Place::plain(2).await;
    let (begun, ended) = (Runs::default(), Runs::default());
    let store = MemoryStore::new();
    let route = kit::sleeping(&place.topic, &begun, &ended, NEVER).timeout(NEVER * 2).concurrency(8);
    place.send_all(place.orders(40)).await;
    let sent = place.stored().await as u64;
    let member = place.member(&store, [route]);
    let starting = move || {
        let user = Runtime::new().unwrap();
        let consumer = user.block_on(member.start()).unwrap();
        (user, consumer)
    };
    let (user, mut consumer) = tokio::task::spawn_blocking(starting).await.unwrap();
    begun.until_total(8, SOON).await;
    user.shutdown_background();
    tokio::time::timeout(SOON, consumer.ended()).await.expect("the consumer stops by itself");
    assert_eq!(place.backlog().await, sent);

    let next = place.member(&store, [kit::counting(&place.topic, &ended)]).start().await.unwrap();
    ended.until_total(40, SOON).await;
    next.shutdown().await;
    assert_eq!((begun.total(), ended.keys()), (8, 40));
    assert!(place.retries().await.is_empty());
}

/// The name server, topic and group of the process.
const CHILD: &str = "IDEM_TEST_RUN_AGAINST";

/// The other half of [`a_signal_ends_run_after_the_handlers_have_finished`], in a process of its own: `main` of a
/// service, but for its arguments. Without them it does nothing.
#[tokio::test(flavor = "multi_thread")]
async fn service() {
    let Ok(against) = std::env::var(CHILD) else { return };
    let [name_server, topic, group] = against.split(' ').collect::<Vec<_>>()[..] else { panic!("{against}") };
    let route = handler(topic, |order: Order| async move {
        println!("begun {}", order.id);
        tokio::time::sleep(Duration::from_secs(3)).await;
        println!("ended {}", order.id);
    });
    let route = route.key(|order| order.id.clone()).concurrency(4);
    Consumer::builder(group)
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
    let (_, module) = module_path!().split_once("::").unwrap();
    let service = format!("{module}::service");
    for signal in ["TERM", "INT"] {
        let place = Place::plain(2).await;
        place.send_all(place.orders(10)).await;
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([&*service, "--exact", "--nocapture"])
            .env(CHILD, [place.name_server(), &place.topic, &place.group].join(" "))
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
        assert!(place.backlog().await >= 6, "what has not begun is left");
    }
}

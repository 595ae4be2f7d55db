//! Consumers in processes of their own, which are killed, stopped and joined by others.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use idem_rocketmq::embedded::Outgoing;

use super::{Java, confirmed, secs};
use crate::crash::{self, Scene};
use crate::kit;
use crate::process::{self, End, Ledger, Place, Redis, Worker, ran_twice};

const LONG: Duration = secs(180);
/// The workers' lease, and how many messages they work on at once.
const LEASE: Duration = secs(3);
const CONCURRENCY: usize = 8;

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_repeats_only_what_it_had_in_flight() {
    let java = Java::plain("killed", 8).await;
    crash::a_worker_is_killed(Scene::at(java.bench, None, &java.topic, &java.group).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_shut_down_repeats_nothing() {
    let java = Java::levels("stopped", 8).await;
    crash::a_worker_is_shut_down(Scene::at(java.bench, None, &java.topic, &java.group).await).await;
}

/// Workers of a test with a Redis of their own.
async fn place(java: &Java) -> (Redis, Place) {
    let redis = Redis::start().await;
    let (name_server, topic) = (java.bench.name_server().to_owned(), java.topic.clone());
    let place =
        Place { name_server, topic, redis: redis.url(), group: java.group.clone(), ledger: Ledger::new() };
    (redis, place)
}

fn order(java: &Java, key: &str, millis: u32, blocks: bool) -> Outgoing {
    let body = format!(r#"{{"id":"{key}","millis":{millis},"fails":0,"blocks":{blocks}}}"#);
    Outgoing::new(&java.topic, body)
}

/// A process that stands still for longer than its lease, and then completes what another one has done meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn the_late_completion_of_a_process_that_stood_still_is_refused_and_told() {
    let java = Java::plain("still", 8).await;
    let (_redis, place) = place(&java).await;
    let mut workers = ["first", "second"].map(|name| (name, Worker::start(&place, name, 2)));
    java.bench.producer().send(order(&java, "7", 0, true)).await.unwrap();
    place.ledger.until("a run", LONG, |runs| runs.len() == 1).await;
    let still = place.ledger.runs()["7"][0].process;
    let (name, victim) = workers.iter().find(|(_, worker)| worker.id() == still).unwrap();
    victim.pause();
    let paused = Instant::now();
    // Duplicates go to all queues in turn, so that some come to the other worker.
    while place.ledger.runs()["7"].len() < 2 {
        assert!(paused.elapsed() < LONG, "the other worker does not take over");
        java.bench.producer().send(order(&java, "7", 0, true)).await.unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    println!(
        "a key was taken over {:.1?} after its process stood still, with a lease of {LEASE:?}",
        paused.elapsed()
    );
    place.ledger.go();
    place.ledger.until("the other one is done", LONG, |runs| runs["7"][1].end == End::Done).await;
    victim.go_on();
    place
        .ledger
        .until("both are done", LONG, |runs| process::done(runs) == 1 && runs["7"][0].end == End::Done)
        .await;
    let told = || place.ledger.logged(name).lines().any(|line| line.contains("completed_elsewhere"));
    kit::until("the late completion is told", LONG, async || told()).await;
    java.until_acked().await;
    for (_, worker) in &mut workers {
        worker.terminate().await;
    }
    assert_eq!(place.ledger.runs()["7"].len(), 2, "{:?}", place.ledger.runs());
    assert!(java.dead_letters().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_queues_of_a_killed_member_are_taken_over_within_ten_seconds() {
    let java = Java::plain("takeover", 8).await;
    let (_redis, place) = place(&java).await;
    let (mut first, mut second) = (Worker::start(&place, "first", 2), Worker::start(&place, "second", 2));
    let mut number = 0;
    let mut send = async |count: usize| {
        for _ in 0..count {
            java.bench.producer().send(order(&java, &format!("order-{number}"), 1, false)).await.unwrap();
            number += 1;
        }
        number
    };
    let processes = || place.ledger.runs().values().flatten().map(|run| run.process).collect::<BTreeSet<_>>();
    let begun = Instant::now();
    while processes().len() < 2 {
        assert!(begun.elapsed() < LONG, "one worker gets nothing");
        send(8).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    first.kill();
    let killed = Instant::now();
    // Producers take the queues in turn: some are for each.
    let all = send(32).await;
    place.ledger.until("all are done", LONG, |runs| process::done(runs) == all).await;
    println!("the queues of a killed member were taken over after {:.1?}", killed.elapsed());
    assert!(killed.elapsed() < secs(10), "{:?}", killed.elapsed());
    java.until_acked().await;
    second.terminate().await;
}

/// Members join, leave and are killed while messages come.
#[tokio::test(flavor = "multi_thread")]
async fn members_that_come_and_go_lose_nothing_and_repeat_only_what_was_in_flight_where_one_was_killed() {
    const SENT: usize = 20_000;
    let java = Java::plain("rebalance", 8).await;
    let (_redis, place) = place(&java).await;
    let worker = |name: &str| Worker::start(&place, name, 2);
    let done = || process::done(&place.ledger.runs());
    let until_done = async |wanted: usize| {
        let begun = Instant::now();
        while done() < wanted {
            assert!(begun.elapsed() < LONG, "{} of {wanted}", done());
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    };
    let (mut first, mut second) = (worker("first"), worker("second"));
    let sending = {
        let messages: Vec<_> =
            (0..SENT).map(|number| order(&java, &format!("order-{number}"), 1, false)).collect();
        let producer = java.bench.producer();
        tokio::spawn(async move {
            for batch in messages.chunks(100) {
                confirmed(&producer, batch.to_vec()).await;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
    };
    let begun = Instant::now();
    until_done(SENT / 8).await;
    let mut third = worker("third");
    until_done(SENT / 4).await;
    let mut killed = vec![first.id()];
    first.kill();
    until_done(SENT / 8 * 3).await;
    let mut fourth = worker("fourth");
    until_done(SENT / 2).await;
    second.terminate().await;
    first = worker("first");
    until_done(SENT / 8 * 5).await;
    killed.push(third.id());
    third.kill();
    until_done(SENT / 4 * 3).await;
    second = worker("second");
    sending.await.unwrap();
    until_done(SENT).await;
    println!("{SENT} orders through six changes of the group took {:.1?}", begun.elapsed());
    java.until_acked().await;
    for member in [&mut first, &mut second, &mut fourth] {
        member.terminate().await;
    }
    let runs = place.ledger.runs();
    let mut repeated: BTreeMap<u32, usize> = BTreeMap::new();
    for (key, runs) in runs.iter().filter(|(_, runs)| ran_twice(runs)) {
        assert!(runs.len() == 2 && killed.contains(&runs[0].process), "{key} ran twice: {runs:?}");
        *repeated.entry(runs[0].process).or_default() += 1;
    }
    println!("runs in flight in killed processes that were repeated: {repeated:?}");
    assert!(repeated.values().all(|count| *count <= 2 * CONCURRENCY), "{repeated:?}");
    assert_eq!(runs.len(), SENT);
    assert!(java.dead_letters().await.is_empty());
}

//! Consumers in processes of their own are killed, stopped and joined by others.
//!
//! Run alone: `cargo test --workspace --all-features --test e2e -- members::workers::`

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::support::kit;
use crate::support::log::secs;
use crate::support::place::{Place, confirmed};
use crate::support::process::{self, Crew, End, Redis, Worker, ran_twice, work};

const LONG: Duration = secs(180);
/// The workers' lease, and how many messages they work on at once.
const LEASE: Duration = secs(3);
const CONCURRENCY: usize = 8;

/// A process that stands still for longer than its lease, and then completes what another one has done meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn the_late_completion_of_a_process_that_stood_still_is_refused_and_told() {
    let place = Place::plain(8).await;
    let redis = Redis::start().await;
    let crew = Crew::of(&place, &redis);
    let mut workers = ["first", "second"].map(|name| (name, Worker::start(&crew, name, 2)));
    place.send(work(&place.topic, "7", 0, 0, true)).await;
    crew.ledger.until("a run", LONG, |runs| runs.len() == 1).await;
    let still = crew.ledger.runs()["7"][0].process;
    let (name, victim) = workers.iter().find(|(_, worker)| worker.id() == still).unwrap();
    victim.pause();
    let paused = Instant::now();
    // Duplicates go to all queues in turn, so that some come to the other worker.
    while crew.ledger.runs()["7"].len() < 2 {
        assert!(paused.elapsed() < LONG, "the other worker does not take over");
        place.send(work(&place.topic, "7", 0, 0, true)).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    println!(
        "a key was taken over {:.1?} after its process stood still, with a lease of {LEASE:?}",
        paused.elapsed()
    );
    crew.ledger.go();
    crew.ledger.until("the other one is done", LONG, |runs| runs["7"][1].end == End::Done).await;
    victim.go_on();
    crew.ledger
        .until("both are done", LONG, |runs| process::done(runs) == 1 && runs["7"][0].end == End::Done)
        .await;
    let told = || crew.ledger.logged(name).lines().any(|line| line.contains("completed_elsewhere"));
    kit::until("the late completion is told", LONG, async || told()).await;
    place.until_acked().await;
    for (_, worker) in &mut workers {
        worker.terminate().await;
    }
    assert_eq!(crew.ledger.runs()["7"].len(), 2, "{:?}", crew.ledger.runs());
    assert!(place.dead_letters().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_queues_of_a_killed_member_are_taken_over_within_ten_seconds() {
    let place = Place::plain(8).await;
    let redis = Redis::start().await;
    let crew = Crew::of(&place, &redis);
    let (mut first, mut second) = (Worker::start(&crew, "first", 2), Worker::start(&crew, "second", 2));
    let mut number = 0;
    let mut send = async |count: usize| {
        for _ in 0..count {
            place.send(work(&place.topic, &format!("order-{number}"), 1, 0, false)).await;
            number += 1;
        }
        number
    };
    let processes = || crew.ledger.runs().values().flatten().map(|run| run.process).collect::<BTreeSet<_>>();
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
    crew.ledger.until("all are done", LONG, |runs| process::done(runs) == all).await;
    println!("the queues of a killed member were taken over after {:.1?}", killed.elapsed());
    assert!(killed.elapsed() < secs(10), "{:?}", killed.elapsed());
    place.until_acked().await;
    second.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_that_come_and_go_lose_nothing_and_repeat_only_what_was_in_flight_where_one_was_killed() {
    const SENT: usize = 20_000;
    let place = Place::plain(8).await;
    let redis = Redis::start().await;
    let crew = Crew::of(&place, &redis);
    let worker = |name: &str| Worker::start(&crew, name, 2);
    let done = || process::done(&crew.ledger.runs());
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
            (0..SENT).map(|number| work(&place.topic, &format!("order-{number}"), 1, 0, false)).collect();
        let producer = place.bench.producer();
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
    place.until_acked().await;
    for member in [&mut first, &mut second, &mut fourth] {
        member.terminate().await;
    }
    let runs = crew.ledger.runs();
    let mut repeated: BTreeMap<u32, usize> = BTreeMap::new();
    for (key, runs) in runs.iter().filter(|(_, runs)| ran_twice(runs)) {
        assert!(runs.len() == 2 && killed.contains(&runs[0].process), "{key} ran twice: {runs:?}");
        *repeated.entry(runs[0].process).or_default() += 1;
    }
    println!("runs in flight in killed processes that were repeated: {repeated:?}");
    assert!(repeated.values().all(|count| *count <= 2 * CONCURRENCY), "{repeated:?}");
    assert_eq!(runs.len(), SENT);
    assert!(place.dead_letters().await.is_empty());
}

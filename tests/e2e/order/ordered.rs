//! Each key keeps its order while members of the group come, go and stand still.
//!
//! Run alone: `cargo test --workspace --all-features --test e2e -- order::ordered::`

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use idem_rocketmq::prelude::*;

use crate::support::log::secs;
use crate::support::place::Place;
use crate::support::process::{self, Crew, End, Redis, Run, Worker, ran_twice};

const BUYERS: usize = 160;
const STEPS: usize = 125;
/// Buyers that are sent for at one time.
const SENDERS: usize = 16;
/// A killed member's queues are locked for it for a minute.
const LONG: Duration = secs(240);
/// The workers' lease.
const LEASE: Duration = secs(3);

/// The steps of all buyers, each buyer's one after the other.
async fn send(place: &Place) {
    let producer = place.sender().start().await.unwrap();
    let senders = (0..SENDERS).map(|sender| {
        let (producer, topic) = (producer.clone(), place.topic.clone());
        tokio::spawn(async move {
            for step in 0..STEPS {
                for buyer in (sender..BUYERS).step_by(SENDERS) {
                    let key = format!("{buyer}-{step}");
                    let body = format!(r#"{{"id":"{key}","millis":1,"fails":0,"blocks":false}}"#);
                    let message = OutgoingMessage::new(&topic, key, body).order_by(buyer);
                    // A message that may have been stored is sent again with the same key.
                    while let Err(error) = producer.send(&message).await {
                        tracing::info!(%error, "sent again");
                    }
                }
            }
        })
    });
    for sender in senders.collect::<Vec<_>>() {
        sender.await.unwrap();
    }
    producer.shutdown().await;
}

/// No step began before the one before it was done, and none again after a later one had begun.
fn assert_order(lines: &[(String, Run)]) {
    let mut buyers: BTreeMap<&str, (usize, BTreeSet<usize>)> = BTreeMap::new();
    for (key, run) in lines {
        let (buyer, step) = key.split_once('-').unwrap();
        let step: usize = step.parse().unwrap();
        let (begun, done) = buyers.entry(buyer).or_default();
        match run.end {
            End::Open => {
                assert!(step >= *begun, "{key} began after step {begun}");
                assert!(step == 0 || done.contains(&(step - 1)), "{key} began before {} was done", step - 1);
                *begun = step;
            }
            End::Done => drop(done.insert(step)),
            End::Failed => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_order_of_each_key_holds_while_members_come_go_and_stand_still() {
    let place = Place::plain(8).await;
    let redis = Redis::start().await;
    let crew = Crew::of(&place, &redis);
    let worker = |name: &str| Worker::orderly(&crew, name, 2);
    let sent = BUYERS * STEPS;
    let until_done = async |part: usize| {
        let (begun, wanted) = (Instant::now(), sent / 8 * part);
        loop {
            let done = process::done(&crew.ledger.runs());
            if done >= wanted {
                return begun.elapsed();
            }
            assert!(begun.elapsed() < LONG, "{done} of {wanted}");
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    };
    let (mut first, mut second) = (worker("first"), worker("second"));
    let sending = send(&place);
    let members = async {
        until_done(1).await;
        let third = worker("third");
        until_done(2).await;
        second.terminate().await;
        until_done(3).await;
        let still = third.id();
        third.pause();
        tokio::time::sleep(LEASE * 2).await;
        third.go_on();
        until_done(4).await;
        second = worker("second");
        until_done(5).await;
        let killed = first.id();
        first.kill();
        let after = until_done(8).await;
        (third, [killed, still], after)
    };
    let begun = Instant::now();
    let ((), (mut third, excused, after)) = tokio::join!(sending, members);
    println!(
        "{sent} steps of {BUYERS} buyers took {:.1?}, {after:.1?} of it after a member was killed",
        begun.elapsed()
    );
    place.until_acked().await;
    second.terminate().await;
    third.terminate().await;
    let runs = crew.ledger.runs();
    let repeated: Vec<_> = runs.iter().filter(|(_, runs)| ran_twice(runs)).collect();
    println!("keys that ran twice: {}", repeated.len());
    for (key, runs) in &repeated {
        assert!(excused.contains(&runs[0].process), "{key} ran twice: {runs:?}");
    }
    assert!(repeated.len() <= 2 * 8, "{repeated:?}");
    assert_eq!(runs.len(), sent);
    assert!(place.dead_letters().await.is_empty());
    assert_order(&crew.ledger.lines());
}

//! Retries are delayed by the broker's timer, or by delay level if it has none.
//!
//! Run alone: `cargo test --workspace --all-features --test e2e -- delivery::delays::`

use std::time::{Duration, Instant, SystemTime};

use idem_rocketmq::cluster::DelayBy;
use idem_rocketmq::consumer::Builder;
use idem_rocketmq::embedded::StoredMessage;
use idem_rocketmq::prelude::*;
use idem_rocketmq::store::Store;

use crate::support::kit::{self, SOON, note};
use crate::support::log::Log;
use crate::support::place::{LEVELS, Place};

type Options = fn(Builder<std::sync::Arc<dyn Store>>) -> Builder<std::sync::Arc<dyn Store>>;

/// Fails the first attempts of some orders, and says after which pauses each came again, with the copies.
async fn retried(
    place: &Place,
    orders: usize,
    failures: u32,
    delay: Duration,
    options: Options,
) -> (Vec<Duration>, Vec<StoredMessage>) {
    let log = Log::default();
    let end = move |_: &str, attempt| match attempt {
        _ if attempt > failures => Ok(()),
        _ => HandlerResult::Err(Retry::after(delay).because(format!("busy, attempt {attempt}")).into()),
    };
    let member = place.member(&MemoryStore::new(), [log.handler(&place.topic, end)]);
    let consumer = options(member).start().await.unwrap();
    for order in place.orders(orders) {
        place.send(order.key("k").property("colour", "blue")).await;
    }
    let runs = log.until(orders * (failures as usize + 1), 3 * SOON).await;
    place.until_acked().await;
    consumer.shutdown().await;
    let pauses = runs.iter().filter(|run| run.attempt > 1).map(|run| {
        let before = runs.iter().find(|other| other.id == run.id && other.attempt == run.attempt - 1);
        run.at - before.expect("the attempt before").at
    });
    let pauses: Vec<_> = pauses.collect();
    let (least, most) = (pauses.iter().min().unwrap(), pauses.iter().max().unwrap());
    println!(
        "{}: {} retries after {delay:?} came after {least:.2?} to {most:.2?}",
        place.group,
        pauses.len()
    );
    assert!(place.dead_letters().await.is_empty());
    (pauses, place.retries().await)
}

fn within(pauses: &[Duration], least: Duration, most: Duration) {
    assert!(pauses.iter().all(|pause| *pause >= least && *pause < most), "{pauses:?}");
}

const MILLIS: fn(u64) -> Duration = Duration::from_millis;

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_comes_after_its_own_time_where_the_broker_has_a_timer() {
    let place = Place::plain(1).await;
    let (pauses, copies) = retried(&place, 10, 2, MILLIS(3_500), |member| member).await;
    within(&pauses, MILLIS(3_500), MILLIS(6_000));
    assert_eq!(copies.len(), 20);
    let second = copies.iter().find(|copy| copy.reconsume_times == 2).unwrap();
    let wanted = [
        ("TIMER_DELAY_MS", "3500"),
        ("DELAY", "none"),
        ("IDEM_ATTEMPTS", "2"),
        ("IDEM_REASON", "busy, attempt 2"),
        ("IDEM_OUTCOME", "failed"),
        ("RETRY_TOPIC", place.topic.as_str()),
        ("KEYS", "k"),
        ("colour", "blue"),
    ];
    assert_eq!(wanted.map(|(name, _)| (name, note(second, name))), wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_comes_by_the_smallest_sufficient_level_where_the_broker_has_no_timer() {
    let place = Place::levels(1).await;
    let (pauses, copies) = retried(&place, 10, 2, MILLIS(2_500), |member| member.delay_levels(LEVELS)).await;
    within(&pauses, MILLIS(2_900), MILLIS(5_500));
    assert_eq!(copies.len(), 20);
    assert!(copies.iter().all(|copy| note(copy, "TIMER_DELAY_MS") == "none"));
    let said = kit::events(|event| {
        event.is("group", &place.group)
            && event.field("message").is_some_and(|text| text.contains("timer messages"))
    });
    assert_eq!(said.len(), 1, "said once: {said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn levels_are_taken_to_be_the_usual_ones_and_can_be_asked_for_where_there_is_a_timer() {
    // The third level is 10 s for all but this broker, whose 2 s are waited for again and again.
    let place = Place::levels(1).await;
    let (pauses, _) = retried(&place, 1, 1, MILLIS(9_000), |member| member).await;
    within(&pauses, MILLIS(7_400), MILLIS(13_000));
    let place = Place::plain(1).await;
    let (pauses, copies) =
        retried(&place, 1, 1, MILLIS(3_500), |member| member.delay_by(DelayBy::Level)).await;
    within(&pauses, MILLIS(4_900), MILLIS(7_500));
    assert_eq!(note(&copies[0], "TIMER_DELAY_MS"), "none");
}

/// A producer asks for delays as retries do.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_for_later_waits_by_the_smallest_sufficient_level_where_the_broker_has_no_timer() {
    let place = Place::levels(1).await;
    let log = Log::default();
    let route = log.handler(&place.topic, |_, _| Ok(()));
    let consumer = place.member(&MemoryStore::new(), [route]).start().await.unwrap();
    let producer = place.sender().delay_levels(LEVELS).start().await.unwrap();
    let sender = format!("{}-p", place.group);
    let order = |id: &str| OutgoingMessage::new(&*place.topic, id, format!(r#"{{"id":"{id}"}}"#));
    let begun = Instant::now();
    producer.send_after(&order("after"), MILLIS(2_500)).await.unwrap();
    producer.send_at(&order("at"), SystemTime::now() + MILLIS(2_500)).await.unwrap();
    producer.send_at(&order("past"), SystemTime::UNIX_EPOCH).await.unwrap();
    let runs = log.until(3, SOON).await;
    let pauses: Vec<_> = runs.iter().map(|run| (run.id.as_str(), run.at - begun)).collect();
    println!("sent for 2.5 s: {pauses:.2?}");
    assert_eq!(pauses[0].0, "past");
    within(&[pauses[1].1, pauses[2].1], MILLIS(2_900), MILLIS(5_500));
    let stored = place.bench.read_all(&place.topic).await.unwrap();
    assert!(stored.iter().all(|message| note(message, "TIMER_DELAY_MS") == "none"), "{stored:?}");
    let said = kit::events(|event| {
        event.is("group", &sender)
            && event.field("message").is_some_and(|text| text.contains("timer messages"))
    });
    assert_eq!(said.len(), 1, "said once: {said:?}");

    // No level waits as long as this: it must not come before its time.
    let error = producer.send_after(&order("never"), MILLIS(11_000)).await.unwrap_err();
    assert!(error.is_refused() || error.is_invalid(), "{error}");
    consumer.shutdown().await;
    producer.shutdown().await;
}

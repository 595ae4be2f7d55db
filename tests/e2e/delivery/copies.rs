//! A retry or dead letter keeps what belongs to its message, and nothing else.
//!
//! Run alone: `cargo test --workspace --all-features --test e2e -- delivery::copies::`

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use idem_rocketmq::consumer::{Builder, NoStoreYet};
use idem_rocketmq::prelude::*;

use crate::support::kit::{self, Order, Runs, SOON, why};
use crate::support::place::{Place, on_both};
use crate::support::servers;

/// How each run was, and when.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<Run>>>);

type Run = (Arc<Delivery>, u32, Instant);

impl Seen {
    fn all(&self) -> Vec<Run> {
        self.0.lock().unwrap().clone()
    }

    /// A handler that ends as `end` says for the attempt.
    fn handler(
        &self,
        topic: &str,
        end: impl Fn(u32) -> HandlerResult + Clone + Send + Sync + 'static,
    ) -> Route {
        let seen = self.clone();
        let route = handler(topic, move |_: Order, delivery: Arc<Delivery>, attempt: Attempt| {
            seen.0.lock().unwrap().push((delivery, attempt.number(), Instant::now()));
            let end = end(attempt.number());
            async move { end }
        });
        route.key(|order| order.id.clone())
    }

    async fn until(&self, runs: usize) -> Vec<(Arc<Delivery>, u32, Instant)> {
        kit::until_equal("runs", runs, SOON, async || self.all().len()).await;
        self.all()
    }

    fn attempts(&self) -> Vec<u32> {
        self.all().iter().map(|(_, attempt, _)| *attempt).collect()
    }
}

fn once_more(attempt: u32) -> HandlerResult {
    if attempt == 1 { Err("once more".into()) } else { Ok(()) }
}

/// The consumer of another group.
fn other(place: &Place) -> Builder<NoStoreYet> {
    Consumer::builder(format!("{}-repair", place.group)).name_server(place.name_server())
}

on_both! {
    /// A dead letter says of which topic its message was, as a retry does.
    async fn a_group_that_repairs_dead_letters_gets_its_retries_under_their_topic(place: Plain of 1) {
        let rejecting = Seen::default();
        let reject = rejecting.handler(&place.topic, |_| Err(Reject::new("to be repaired").into()));
        let consumer = place.member(&MemoryStore::new(), [reject]).start().await.unwrap();
        place.send(place.order("broken")).await;
        place.until_dead_letters(1).await;
        consumer.shutdown().await;

        let (repairs, orders) = (Seen::default(), Seen::default());
        let routes = [
            repairs.handler(&place.dead_letter_topic(), once_more).backoff(kit::secondly()).max_attempts(2),
            orders.handler(&place.topic, |_| Ok(())),
        ];
        let repair = other(&place).store(MemoryStore::new()).handlers(routes).start().await.unwrap();
        let runs = repairs.until(2).await;
        orders.until(1).await;
        repair.shutdown().await;
        assert_eq!(repairs.attempts(), [1, 2], "those of the first group count for nothing");
        assert!(runs.iter().all(|(delivery, ..)| delivery.topic() == place.dead_letter_topic()));
        assert_eq!(orders.attempts(), [1], "the order itself and no repair");
    }

    async fn a_retry_is_as_old_as_its_message(place: Plain of 1) {
        let seen = Seen::default();
        let end = |attempt| if attempt < 3 { Err("again".into()) } else { Err(Reject::new("enough").into()) };
        let route = seen.handler(&place.topic, end).backoff(kit::secondly());
        let consumer = place.member(&MemoryStore::new(), [route]).start().await.unwrap();
        place.send(place.order("old")).await;
        place.until_dead_letters(1).await;
        consumer.shutdown().await;
        let runs = seen.all();
        assert_eq!(seen.attempts(), [1, 2, 3]);
        assert!(runs.iter().all(|(delivery, ..)| delivery.born_at() == runs[0].0.born_at()));
        assert!(runs.windows(2).all(|two| two[0].0.stored_at() < two[1].0.stored_at()));
    }

    /// 32,695 bytes of them, and a broker takes 32,767 with those that it adds itself.
    async fn a_message_whose_properties_leave_no_room_is_dead_lettered_and_its_queue_goes_on(place: Plain of 1) {
        for bytes in [31_000, 31_700, 32_000, 32_300, 32_600] {
            let big = "b".repeat(bytes);
            let properties = [("big", big.as_str()), ("KEYS", "k")];
            servers::send_flagged(place.name_server(), &place.topic, 0, &properties, format!(r#"{{"id":"{bytes}"}}"#).as_bytes()).unwrap();
        }
        place.send(place.order("last")).await;
        let runs = Runs::default();
        let seen = runs.clone();
        let route = handler(&place.topic, move |order: Order| {
            seen.add(&order.id);
            async move {
                match order.id.as_str() {
                    "last" => HandlerResult::Ok(()),
                    _ => Err(Reject::new("r".repeat(900)).into()),
                }
            }
        });
        let route = route.key(|order| order.id.clone());
        let consumer = place.member(&MemoryStore::new(), [route]).start().await.unwrap();
        let letters = place.until_dead_letters(5).await;
        place.until_acked().await;
        let begun = Instant::now();
        consumer.shutdown().await;
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
        assert_eq!((runs.total(), runs.of("last")), (6, 1));
        for letter in &letters {
            let id = serde_json::from_slice::<Order>(&letter.body).map(|order| order.id);
            if let (Some(big), Ok(id)) = (letter.property("big"), id) {
                assert_eq!(big.len().to_string(), id, "the user's properties are whole");
            } else {
                let place = letter.property("IDEM_REFERENCE").unwrap();
                assert!(place.contains(", queue 0, offset "), "{place}");
            }
        }
        assert!(letters.iter().filter(|letter| letter.property("big").is_some()).count() >= 4);
    }

    /// As with a retention that is shorter than a retry's delay.
    async fn attempts_go_on_where_their_record_has_expired(place: Plain of 1) {
        let seen = Seen::default();
        let delay = Duration::from_millis(1_900);
        let route = seen.handler(&place.topic, move |_| Err(idem_rocketmq::Retry::after(delay).because("not yet").into()));
        let route = route.max_attempts(3).backoff(kit::secondly()).lease(Duration::from_secs(1)).timeout(Duration::from_secs(1)).retention(Duration::from_millis(1_200));
        let consumer = place.member(&MemoryStore::new(), [route]).start().await.unwrap();
        place.send(place.order("failing")).await;
        let letter = &place.until_dead_letters(1).await[0];
        consumer.shutdown().await;
        assert_eq!(seen.attempts(), [1, 2, 3]);
        assert_eq!((why(letter).0, why(letter).1), ("exhausted", "3"));
    }
}

/// The broker's levels end at 10 s.
#[tokio::test(flavor = "multi_thread")]
async fn a_delay_longer_than_the_brokers_longest_is_waited_for_and_costs_no_attempt() {
    let place = Place::levels(1).await;
    let (seen, delay) = (Seen::default(), Duration::from_secs(14));
    let end = move |attempt| match attempt {
        1 => Err(idem_rocketmq::Retry::after(delay).because("not yet").into()),
        _ => HandlerResult::Ok(()),
    };
    let route = seen.handler(&place.topic, end).max_attempts(2);
    let member = place.member(&MemoryStore::new(), [route]).delay_levels(crate::support::place::LEVELS);
    let consumer = member.start().await.unwrap();
    place.send(place.order("patient")).await;
    let runs = seen.until(2).await;
    place.until_acked().await;
    consumer.shutdown().await;
    assert_eq!(seen.attempts(), [1, 2]);
    let waited = runs[1].2 - runs[0].2;
    // As early as a timer may be.
    assert!(waited > Duration::from_millis(12_400) && waited < Duration::from_secs(25), "{waited:?}");
    assert_eq!(runs[1].0.reconsume_times(), 1, "waiting on is no delivery");
    assert_eq!(runs[1].0.property("IDEM_ATTEMPTS"), Some("1"));
}

/// As where they were shortened and nobody told idem.
#[tokio::test(flavor = "multi_thread")]
async fn a_delay_that_the_broker_cuts_is_waited_for_all_the_same() {
    let place = Place::levels(1).await;
    let (seen, delay) = (Seen::default(), Duration::from_secs(7));
    let end = move |attempt| match attempt {
        1 => Err(idem_rocketmq::Retry::after(delay).because("not yet").into()),
        _ => HandlerResult::Ok(()),
    };
    let consumer =
        place.member(&MemoryStore::new(), [seen.handler(&place.topic, end)]).start().await.unwrap();
    place.send(place.order("patient")).await;
    let runs = seen.until(2).await;
    place.until_acked().await;
    consumer.shutdown().await;
    let waited = runs[1].2 - runs[0].2;
    assert!(waited > Duration::from_millis(5_400) && waited < Duration::from_secs(20), "{waited:?}");
    assert_eq!(runs[1].0.reconsume_times(), 1);
}

//! Each queue keeps its order, on both brokers.
//!
//! Run alone: `cargo test --workspace --all-features --test e2e -- order::orderly::`

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use idem_rocketmq::embedded::Outgoing;
use idem_rocketmq::prelude::*;
use idem_rocketmq::settings::UNLIMITED;
use idem_rocketmq::{Backoff, HandlerError, TieredStore};

use crate::support::kit::{self, SOON};
use crate::support::place::{Place, on_both};

/// One step of a buyer's orders.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Step {
    id: String,
    buyer: usize,
    number: usize,
}

/// Sends the steps of all buyers in turn, each buyer's into one queue.
async fn send(place: &Place, buyers: usize, steps: usize) {
    let producer = Producer::builder("orderly").name_server(place.name_server()).start().await.unwrap();
    for number in 0..steps {
        for buyer in 0..buyers {
            let step = Step { id: format!("{buyer}-{number}"), buyer, number };
            let message = OutgoingMessage::json(&place.topic, &step.id, &step).order_by(buyer);
            producer.send(&message).await.unwrap();
        }
    }
    producer.shutdown().await;
}

/// The runs, in their order.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<Run>>>);

#[derive(Debug, Clone)]
struct Run {
    step: Step,
    begun: Instant,
    ended: Option<Instant>,
}

impl Log {
    fn runs(&self) -> Vec<Run> {
        self.0.lock().unwrap().clone()
    }

    fn of(&self, id: &str) -> usize {
        self.runs().iter().filter(|run| run.step.id == id).count()
    }

    async fn until(&self, runs: usize) -> Vec<Run> {
        kit::until_equal("runs", runs, SOON * 2, async || self.runs().len()).await;
        self.runs()
    }

    async fn until_ended(&self, id: &str) {
        let ended = || self.runs().iter().any(|run| run.step.id == id && run.ended.is_some());
        kit::until("an end", SOON * 2, async || ended()).await;
    }

    /// A handler that takes its time, and ends as it is told for each attempt.
    fn handler(
        &self,
        topic: &str,
        time: Duration,
        end: impl Fn(&str, usize) -> HandlerResult + Clone + Send + Sync + 'static,
    ) -> idem_rocketmq::handler::Unkeyed<Step> {
        let log = self.clone();
        handler(topic, move |step: Step| {
            let (log, end) = (log.clone(), end.clone());
            async move {
                let place = {
                    let mut runs = log.0.lock().unwrap();
                    runs.push(Run { step: step.clone(), begun: Instant::now(), ended: None });
                    runs.len() - 1
                };
                tokio::time::sleep(time).await;
                end(&step.id, log.of(&step.id))?;
                log.0.lock().unwrap()[place].ended = Some(Instant::now());
                Ok::<(), HandlerError>(())
            }
        })
    }

    /// Each buyer's steps ended in their order, and none began before the one before it had ended.
    fn assert_order(&self) {
        let mut last: BTreeMap<usize, (usize, Instant)> = BTreeMap::new();
        let mut ended: Vec<_> = self.runs().into_iter().filter_map(|run| Some((run.ended?, run))).collect();
        ended.sort_by_key(|(at, _)| *at);
        for (at, run) in ended {
            if let Some((number, before)) = last.insert(run.step.buyer, (run.step.number, at)) {
                assert!(run.step.number > number, "step {} came after {number}", run.step.id);
                assert!(run.begun >= before, "step {} began before {number} had ended", run.step.id);
            }
        }
    }
}

#[expect(clippy::unnecessary_wraps, reason = "it ends runs as others do that fail")]
fn always_ok(_: &str, _: usize) -> HandlerResult {
    Ok(())
}

on_both! {
    async fn a_queue_is_handled_in_its_order_one_by_one(place: Plain of 4) {
        send(&place, 8, 12).await;
        let log = Log::default();
        let route = log.handler(&place.topic, Duration::from_millis(3), always_ok).key(|step| step.id.clone()).orderly();
        let running = place.member(&MemoryStore::new(), [route]).start().await.unwrap();
        let runs = log.until(96).await;
        place.until_acked().await;
        running.shutdown().await;
        log.assert_order();
        // Buyers of one queue do not run beside each other either.
        let at_once = |run: &Run| runs.iter().filter(|other| other.begun <= run.begun && other.ended > Some(run.begun)).count();
        assert!(runs.iter().map(at_once).max() <= Some(4), "more runs at once than queues");
        assert_eq!(place.duplicates(), 0);
    }

    async fn a_failed_message_is_not_overtaken_and_its_neighbours_are_not_run_again(place: Plain of 1) {
        send(&place, 1, 10).await;
        let log = Log::default();
        let fails = |id: &str, run: usize| if id == "0-3" && run < 3 { Err("not yet".into()) } else { Ok(()) };
        let route = log.handler(&place.topic, Duration::ZERO, fails).key(|step| step.id.clone()).orderly();
        let route = route.backoff(Backoff::fixed(Duration::from_millis(300)));
        let running = place.member(&MemoryStore::new(), [route]).start().await.unwrap();
        let runs = log.until(12).await;
        place.until_acked().await;
        running.shutdown().await;
        log.assert_order();
        let ids: Vec<_> = runs.iter().map(|run| &*run.step.id).collect();
        assert_eq!(ids, ["0-0", "0-1", "0-2", "0-3", "0-3", "0-3", "0-4", "0-5", "0-6", "0-7", "0-8", "0-9"]);
        let waited = runs[4].begun - runs[3].begun;
        assert!(waited >= Duration::from_millis(300), "{waited:?}");
        assert_eq!(place.duplicates(), 0, "what was settled is not asked for again");
        assert!(place.dead_letters().await.is_empty());
    }

    async fn an_exhausted_message_is_one_dead_letter_and_the_queue_goes_on(place: Plain of 1) {
        send(&place, 1, 5).await;
        let log = Log::default();
        let fails = |id: &str, _| if id == "0-1" { Err("never".into()) } else { Ok(()) };
        let route = log.handler(&place.topic, Duration::ZERO, fails).key(|step| step.id.clone()).orderly();
        let route = route.max_attempts(3).backoff(Backoff::fixed(Duration::from_millis(50)));
        let running = place.member(&MemoryStore::new(), [route]).start().await.unwrap();
        log.until_ended("0-4").await;
        place.until_acked().await;
        running.shutdown().await;
        assert_eq!((log.of("0-1"), log.runs().len()), (3, 7));
        let letters = place.dead_letters().await;
        let notes = |name| letters.iter().map(|letter| letter.property(name).unwrap_or("none")).collect::<Vec<_>>();
        assert_eq!((notes("IDEM_KEY"), notes("IDEM_ATTEMPTS"), notes("IDEM_REASON")), (vec!["0-1"], vec!["3"], vec!["never"]));
    }

    /// Without a bound of attempts a message blocks its queue, and only its queue.
    async fn a_message_may_block_its_queue_until_it_succeeds(place: Plain of 4) {
        send(&place, 8, 3).await;
        let log = Log::default();
        let fails = |id: &str, run: usize| if id == "0-0" && run < 20 { Err("not yet".into()) } else { Ok(()) };
        let route = log.handler(&place.topic, Duration::ZERO, fails).key(|step| step.id.clone()).orderly();
        let route = route.max_attempts(UNLIMITED).backoff(Backoff::fixed(Duration::from_millis(100)));
        let running = place.member(&MemoryStore::new(), [route]).start().await.unwrap();
        log.until(24 + 19).await;
        place.until_acked().await;
        running.shutdown().await;
        log.assert_order();
        let ended_before = log.runs().iter().take_while(|run| run.step.id != "0-1").filter(|run| run.ended.is_some()).count();
        assert!(ended_before > 6, "other queues went on: {ended_before}");
    }

    async fn with_order_by_keys_of_one_queue_run_side_by_side_each_in_its_order(place: Plain of 1) {
        send(&place, 8, 4).await;
        let log = Log::default();
        let fails = |id: &str, run: usize| if id == "3-1" && run < 3 { Err("not yet".into()) } else { Ok(()) };
        let route = log.handler(&place.topic, Duration::from_millis(100), fails).order_by(|step| step.buyer);
        let route = route.key(|step| step.id.clone()).backoff(Backoff::fixed(Duration::from_millis(200)));
        let running = place.member(&MemoryStore::new(), [route]).start().await.unwrap();
        let runs = log.until(34).await;
        place.until_acked().await;
        running.shutdown().await;
        log.assert_order();
        let at_once = |run: &Run| {
            let others = runs.iter().filter(|other| other.begun <= run.begun && other.ended > Some(run.begun));
            others.map(|other| other.step.buyer).collect::<BTreeSet<_>>().len()
        };
        let most = runs.iter().map(at_once).max().unwrap();
        assert!(most > 3, "at most {most} buyers at once");
        assert_eq!(place.duplicates(), 0);
    }

    /// Each is settled as soon as it is let in, and with it the turn of the next one comes.
    async fn known_duplicates_of_a_queue_are_passed_over(place: Plain of 1) {
        let (log, cache, dir) = (Log::default(), MemoryStore::new(), tempfile::tempdir().unwrap());
        let store = TieredStore::new(cache.clone(), SqliteStore::open(dir.path().join("idem.db")).await.unwrap());
        let route = log.handler(&place.topic, Duration::ZERO, always_ok).key(|step| step.id.clone()).orderly();
        let running = place.member(&store.await.unwrap(), [route]).start().await.unwrap();
        send(&place, 1, 1).await;
        log.until_ended("0-0").await;
        kit::until_equal("records in the cache", 1, SOON, async || cache.len()).await;
        let again = serde_json::to_vec(&log.runs()[0].step).unwrap();
        place.send_all((0..300).map(|_| Outgoing::new(&place.topic, again.clone())).collect()).await;
        send(&place, 1, 2).await;
        log.until_ended("0-1").await;
        place.until_acked().await;
        running.shutdown().await;
        assert_eq!(log.runs().len(), 2, "each once");
        assert!(place.duplicates() > 300, "{}", place.duplicates());
    }

    async fn a_time_out_breaks_no_order(place: Plain of 1) {
        send(&place, 2, 3).await;
        let log = Log::default();
        let seen = log.clone();
        let route = handler(&place.topic, move |step: Step| {
            let log = seen.clone();
            async move {
                let place = {
                    let mut runs = log.0.lock().unwrap();
                    runs.push(Run { step: step.clone(), begun: Instant::now(), ended: None });
                    runs.len() - 1
                };
                if step.id == "0-0" && log.of("0-0") == 1 {
                    tokio::time::sleep(Duration::from_mins(1)).await;
                }
                log.0.lock().unwrap()[place].ended = Some(Instant::now());
            }
        });
        let route = route.key(|step| step.id.clone()).orderly().timeout(Duration::from_secs(1));
        let route = route.backoff(Backoff::fixed(Duration::from_millis(100)));
        let running = place.member(&MemoryStore::new(), [route]).start().await.unwrap();
        let runs = log.until(7).await;
        place.until_acked().await;
        running.shutdown().await;
        log.assert_order();
        let ids: Vec<_> = runs.iter().map(|run| &*run.step.id).collect();
        assert_eq!(ids, ["0-0", "0-0", "1-0", "0-1", "1-1", "0-2", "1-2"]);
    }

    async fn an_undecodable_message_is_a_dead_letter_and_breaks_no_order(place: Plain of 1) {
        let producer = Producer::builder("orderly").name_server(place.name_server()).start().await.unwrap();
        send(&place, 1, 2).await;
        producer.send(&OutgoingMessage::new(&place.topic, "bad", "no json")).await.unwrap();
        send(&place, 1, 3).await;
        let log = Log::default();
        let route = log.handler(&place.topic, Duration::ZERO, always_ok).key(|step| step.id.clone()).orderly();
        let running = place.member(&MemoryStore::new(), [route]).start().await.unwrap();
        log.until_ended("0-2").await;
        place.until_acked().await;
        running.shutdown().await;
        let ids: Vec<_> = log.runs().iter().map(|run| run.step.id.clone()).collect();
        assert_eq!(ids, ["0-0", "0-1", "0-2"]);
        assert_eq!(place.dead_letters().await.len(), 1);
        assert_eq!(place.duplicates(), 2, "the two that were sent twice");
    }

    async fn a_shutdown_in_the_middle_keeps_the_order(place: Plain of 2) {
        send(&place, 4, 20).await;
        let (log, store) = (Log::default(), MemoryStore::new());
        let route = || {
            let handler = log.handler(&place.topic, Duration::from_millis(20), always_ok);
            handler.order_by(|step| step.buyer).key(|step| step.id.clone())
        };
        let first = place.member(&store, [route()]).start().await.unwrap();
        kit::until("half of it", SOON, async || log.runs().len() > 30).await;
        first.shutdown().await;
        let second = place.member(&store, [route()]).start().await.unwrap();
        kit::until("all of it", SOON * 2, async || log.runs().iter().filter(|run| run.ended.is_some()).count() == 80).await;
        place.until_acked().await;
        second.shutdown().await;
        log.assert_order();
        assert_eq!(log.runs().len(), 80, "no run was cut off");
    }
}

//! Tests as users write them with a [`TestConsumer`].

use std::time::Duration;

use parking_lot::Mutex;

use super::*;
use crate::handler::Unkeyed;
use crate::prelude::*;

#[derive(Deserialize)]
struct Purchase {
    id: String,
    buyer: String,
}

fn order(id: &str, buyer: &str) -> Delivery {
    Delivery::builder("orders").body(format!(r#"{{"id":"{id}","buyer":"{buyer}"}}"#)).build()
}

/// The runs of a handler, which fails the first time for `bad`.
#[derive(Clone, Default)]
struct RunLog(Arc<Mutex<Vec<String>>>);

impl RunLog {
    fn unkeyed(&self) -> Unkeyed<Purchase> {
        let runs = self.clone();
        handler("orders", move |order: Purchase, attempt: Attempt| {
            runs.0.lock().push(order.id.clone());
            let fails = order.id == "bad" && attempt.number() == 1;
            async move { if fails { Err("not yet") } else { Ok(()) } }
        })
    }

    fn route(&self) -> Route {
        self.unkeyed().key(|order| order.id.clone()).named("runs")
    }

    fn ids(&self) -> Vec<String> {
        self.0.lock().clone()
    }
}

fn consumer(route: Route) -> TestConsumer {
    consumer_on(&TestStore::new(), route)
}

fn consumer_on(store: &TestStore, route: Route) -> TestConsumer {
    Consumer::builder("campaign").store(store.clone()).handlers([route]).test().unwrap()
}

fn outcomes(decisions: &[Decision]) -> Vec<Outcome> {
    decisions.iter().map(|decision| decision.outcome).collect()
}

#[tokio::test(start_paused = true)]
async fn a_message_that_fails_keeps_those_of_its_value_waiting_and_no_others() {
    let runs = RunLog::default();
    let consumer =
        consumer(runs.unkeyed().order_by(|order| order.buyer.clone()).key(|order| order.id.clone()));
    let messages = || [order("bad", "a"), order("other", "b"), order("behind", "a"), order("last", "a")];
    let decisions = consumer.deliver_all(messages()).await;
    assert_eq!(
        outcomes(&decisions),
        [Outcome::Failed, Outcome::Completed, Outcome::Waiting, Outcome::Waiting]
    );
    assert_eq!(decisions[2].verdict, Verdict::Leave);
    assert_eq!(runs.ids(), ["bad", "other"]);
    assert!(consumer.retries().is_empty(), "they come again in their queue");
    let decisions = consumer.deliver_all(messages()).await;
    assert_eq!(
        outcomes(&decisions),
        [Outcome::Completed, Outcome::Duplicate, Outcome::Completed, Outcome::Completed]
    );
    assert_eq!(runs.ids(), ["bad", "other", "bad", "behind", "last"]);
}

#[tokio::test(start_paused = true)]
async fn a_queue_in_order_waits_as_a_whole_and_another_queue_does_not() {
    let runs = RunLog::default();
    let consumer = consumer(runs.route().orderly());
    let elsewhere =
        Delivery::builder("orders").queue("broker-b", 3).body(r#"{"id":"c","buyer":"a"}"#).build();
    let decisions = consumer.deliver_all([order("bad", "a"), order("b", "b"), elsewhere]).await;
    assert_eq!(outcomes(&decisions), [Outcome::Failed, Outcome::Waiting, Outcome::Completed]);
}

#[tokio::test(start_paused = true)]
async fn a_retry_comes_as_a_broker_would_send_it_and_the_last_one_is_a_dead_letter() {
    let route = handler("orders", |_: Purchase| async { Err::<(), _>("no") });
    let consumer = consumer(route.key(|order: &Purchase| order.id.clone()).max_attempts(2));
    let first = consumer.deliver(order("1", "a")).await;
    assert_eq!(first.verdict, Verdict::Retry(Duration::from_secs(10)));
    let retry = consumer.retries().remove(0);
    assert_eq!((retry.topic(), retry.reconsume_times()), ("orders", 1));
    let last = consumer.deliver(retry).await;
    assert_eq!((last.outcome, last.attempt), (Outcome::Exhausted, 2));
    let letters = consumer.dead_letters();
    assert_eq!(letters.len(), 1);
    let said = |name| letters[0].property(name);
    assert_eq!(letters[0].topic(), "%DLQ%campaign");
    assert_eq!(
        (said("IDEM_OUTCOME"), said("IDEM_ATTEMPTS"), said("IDEM_REASON"), said("IDEM_KEY")),
        (Some("exhausted"), Some("2"), Some("no"), Some("1"))
    );
}

#[tokio::test(start_paused = true)]
async fn a_broadcast_message_that_fails_is_decided_once() {
    let runs = RunLog::default();
    let builder = Consumer::builder("campaign").instance_name("a").store(TestStore::new());
    let consumer = builder.handlers([runs.route().broadcast()]).test().unwrap();
    let decision = consumer.deliver(order("bad", "a")).await;
    assert_eq!(decision.verdict, Verdict::Retry(Duration::from_secs(1)));
    assert!(consumer.retries().is_empty(), "nobody sends it back");
}

fn sleeping() -> Route {
    let route = handler("orders", |_: Purchase| tokio::time::sleep(Duration::from_hours(1)));
    route.key(|order: &Purchase| order.id.clone())
}

#[tokio::test(start_paused = true)]
async fn time_that_the_test_moves_ends_a_handler() {
    let consumer = consumer(sleeping());
    let begun = std::time::Instant::now();
    let decision = consumer.deliver(order("1", "a")).await;
    assert_eq!((decision.outcome, decision.attempt), (Outcome::TimedOut, 1));
    assert!(begun.elapsed() < Duration::from_mins(1));
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_lost_cancels_its_handler_and_costs_no_attempt() {
    let store = TestStore::new();
    let consumer = consumer_on(&store, sleeping());
    store.take_leases();
    let decision = consumer.deliver(order("1", "a")).await;
    assert_eq!(decision.outcome, Outcome::LeaseLost);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_interrupts_a_handler() {
    let consumer = consumer(sleeping());
    let delivering = consumer.deliver(order("1", "a"));
    let (decision, ()) = tokio::join!(delivering, async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        consumer.shut_down();
    });
    assert_eq!((decision.verdict, decision.outcome), (Verdict::Leave, Outcome::Shutdown));
    assert_eq!(consumer.deliver(order("2", "a")).await.verdict, Verdict::Leave);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_holds_a_message_until_it_is_back() {
    let (store, runs) = (TestStore::new(), RunLog::default());
    let consumer = consumer_on(&store, runs.route());
    store.go_away();
    let delivering = consumer.deliver(order("1", "a"));
    let (decision, ()) = tokio::join!(delivering, async {
        tokio::time::sleep(Duration::from_mins(10)).await;
        assert!(runs.ids().is_empty());
        store.come_back();
    });
    assert_eq!(decision.outcome, Outcome::Completed);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_a_bad_deploy_holds_is_told() {
    let consumer = consumer(RunLog::default().route());
    let garbage = || Delivery::builder("orders").body("not JSON").build();
    let decisions = consumer.deliver_all((0..60).map(|_| garbage())).await;
    assert!(decisions[..50].iter().all(|decision| decision.verdict == Verdict::DeadLetter));
    assert!(decisions[50..].iter().all(|decision| decision.verdict == Verdict::Leave), "{decisions:?}");
    let reason = decisions[59].reason.as_deref().unwrap();
    assert!(reason.contains("more than half of its handler's last 100 messages"), "{reason}");
    let letters = consumer.dead_letters();
    assert_eq!(letters.len(), 50);
    assert_eq!((decisions[0].attempt, letters[0].property("IDEM_ATTEMPTS")), (1, Some("1")));
}

#[tokio::test(start_paused = true)]
async fn a_queue_in_order_waits_behind_a_message_that_is_held() {
    let consumer = consumer(RunLog::default().route().orderly());
    let garbage = || Delivery::builder("orders").body("not JSON").build();
    let delivering = consumer.deliver_all((0..55).map(|_| garbage()));
    let decisions = tokio::time::timeout(Duration::from_hours(1), delivering).await.expect("it is told");
    assert_eq!(consumer.dead_letters().len(), 50);
    assert_eq!(
        outcomes(&decisions[49..53]),
        [Outcome::Undecodable, Outcome::Undecodable, Outcome::Waiting, Outcome::Waiting]
    );
    assert_eq!(
        (decisions[49].verdict, decisions[50].verdict, decisions[51].verdict),
        (Verdict::DeadLetter, Verdict::Leave, Verdict::Leave)
    );
}

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use idem_core::engine::{Admission, Engine, Leader};
use idem_core::store::{Answer, Attempts, Claim, ClaimRequest, ReleaseRequest, Store as _};
use idem_core::{Job, Namespace, RecordKey, Settings, Token};

use crate::extract::{BatchCall, Lease, Needs};
use crate::handler::{BatchHandler, BatchItem, BoxFuture, CallContext};
use crate::prelude::*;
use crate::testing::{Outcome, TestConsumer, Verdict};
use crate::{Backoff, HandlerError, batch_handler};

#[derive(Debug, Clone, Deserialize, IdempotencyKey)]
struct BatchOrder {
    #[idempotency_key]
    id: String,
}

/// The ids of each call.
#[derive(Clone, Default)]
struct Calls(Arc<Mutex<Vec<Vec<String>>>>);

impl Calls {
    fn note(&self, orders: &[BatchOrder]) {
        self.0.lock().unwrap().push(orders.iter().map(|order| order.id.clone()).collect());
    }

    fn all(&self) -> Vec<Vec<String>> {
        self.0.lock().unwrap().clone()
    }
}

fn consumer(route: Route) -> TestConsumer {
    Consumer::builder("g").store(MemoryStore::new()).handlers([route]).test().unwrap()
}

fn order(id: &str) -> Delivery {
    Delivery::builder("orders").body(format!(r#"{{"id":"{id}"}}"#)).build()
}

fn orders<const N: usize>(ids: [&str; N]) -> [Delivery; N] {
    ids.map(order)
}

async fn outcomes<const N: usize>(consumer: &TestConsumer, ids: [&str; N]) -> Vec<Outcome> {
    consumer.deliver_all(orders(ids)).await.into_iter().map(|decision| decision.outcome).collect()
}

/// A handler that notes its calls and returns what `then` says.
fn noting<R: crate::handler::BatchReturn + Send + 'static>(
    calls: &Calls,
    then: impl Fn(&[BatchOrder]) -> R + Send + Sync + 'static,
) -> Route {
    let calls = calls.clone();
    batch_handler("orders", move |orders: Vec<BatchOrder>| {
        calls.note(&orders);
        let result = then(&orders);
        async move { result }
    })
    .key(|order: &BatchOrder| order.id.clone())
    .backoff(Backoff::fixed(Duration::from_secs(1)))
}

#[tokio::test]
async fn a_batch_has_each_key_once_and_no_completed_one() {
    let calls = Calls::default();
    let consumer = consumer(noting(&calls, |_| ()));
    assert_eq!(outcomes(&consumer, ["1"]).await, [Outcome::Completed]);
    let seen = outcomes(&consumer, ["2", "1", "3", "2"]).await;
    assert_eq!(seen, [Outcome::Completed, Outcome::Duplicate, Outcome::Completed, Outcome::Duplicate]);
    assert_eq!(calls.all(), [vec!["1"], vec!["2", "3"]]);
}

#[tokio::test]
async fn what_cannot_be_handled_holds_up_no_neighbour() {
    let calls = Calls::default();
    let consumer = consumer(noting(&calls, |_| ()));
    let broken = Delivery::builder("orders").body("no JSON").build();
    let decisions = consumer.deliver_all([order("1"), broken, order(""), order("2")]).await;
    let outcomes: Vec<_> = decisions.into_iter().map(|decision| decision.outcome).collect();
    let wanted = [Outcome::Completed, Outcome::Undecodable, Outcome::MissingKey, Outcome::Completed];
    assert_eq!((outcomes, calls.all()), (wanted.to_vec(), vec![vec!["1".to_owned(), "2".to_owned()]]));
}

#[tokio::test]
async fn one_bad_message_does_not_bring_the_others_back() {
    let calls = Calls::default();
    let route = noting(&calls, |orders| {
        let bad = orders.iter().enumerate().filter(|(_, order)| order.id == "bad");
        bad.map(|(place, _)| (place, "the index refused it")).collect::<BatchFailures>()
    });
    let consumer = consumer(route.max_attempts(2));
    let decisions = consumer.deliver_all(orders(["1", "bad", "2"])).await;
    assert_eq!(decisions[0].outcome, Outcome::Completed);
    assert_eq!(decisions[1].verdict, Verdict::Retry(Duration::from_secs(1)));
    assert_eq!(decisions[1].reason.as_deref(), Some("the index refused it"));
    assert_eq!(decisions[2].outcome, Outcome::Completed);
    // The last attempt of one is its own, too.
    assert_eq!(
        outcomes(&consumer, ["1", "bad", "3"]).await,
        [Outcome::Duplicate, Outcome::Exhausted, Outcome::Completed]
    );
    assert_eq!(calls.all(), [vec!["1", "bad", "2"], vec!["bad", "3"]]);
}

#[tokio::test]
async fn retry_and_reject_decide_for_one_message_and_for_all() {
    async fn each(orders: Batch<BatchOrder>) -> Vec<HandlerResult> {
        let decide = |order: &BatchItem<BatchOrder>| match order.id.as_str() {
            "reject" => Err(Reject::new("never").into()),
            "later" => Err(Retry::after(Duration::from_mins(1)).because("busy").into()),
            _ => Ok(()),
        };
        orders.iter().map(decide).collect()
    }
    async fn all(orders: Vec<BatchOrder>) -> Result<(), anyhow::Error> {
        match orders[0].id.as_str() {
            "reject" => Err(anyhow::Error::new(Reject::new("never")).context("indexing")),
            _ => Err(Retry::after(Duration::from_mins(1)).because("busy").into()),
        }
    }

    let consumer_of_each = consumer(batch_handler("orders", each).key(BatchOrder::idempotency_key));
    let decisions = consumer_of_each.deliver_all(orders(["reject", "1", "later"])).await;
    assert_eq!((decisions[0].verdict, decisions[0].outcome), (Verdict::DeadLetter, Outcome::Rejected));
    assert_eq!(decisions[1].verdict, Verdict::Ack);
    assert_eq!(decisions[2].verdict, Verdict::Retry(Duration::from_mins(1)));

    let consumer_of_all = consumer(batch_handler("orders", all).key(BatchOrder::idempotency_key));
    for decision in consumer_of_all.deliver_all(orders(["reject", "1"])).await {
        assert_eq!((decision.verdict, decision.outcome), (Verdict::DeadLetter, Outcome::Rejected));
        assert_eq!(decision.reason.as_deref(), Some("indexing: never"));
    }
    for decision in consumer_of_all.deliver_all(orders(["2", "3"])).await {
        assert_eq!(decision.verdict, Verdict::Retry(Duration::from_mins(1)));
        assert_eq!((decision.attempt, decision.reason.as_deref()), (1, Some("busy")));
    }
}

#[tokio::test]
async fn results_that_do_not_fit_the_batch_are_an_error_for_all_that_says_so() {
    let short = noting(&Calls::default(), |_| vec![Ok::<_, HandlerError>(())]);
    for decision in consumer(short).deliver_all(orders(["1", "2", "3"])).await {
        let said = "the batch handler returned 1 results for 3 messages: return one for each, in their order";
        assert_eq!((decision.outcome, decision.reason.as_deref()), (Outcome::Failed, Some(said)));
    }
    let beyond = noting(&Calls::default(), |orders| BatchFailures::from_iter([(orders.len(), "bad")]));
    for decision in consumer(beyond).deliver_all(orders(["1", "2"])).await {
        let said =
            "the batch handler said that the message at place 2 failed, and the batch has 2, counted from 0";
        assert_eq!((decision.outcome, decision.reason.as_deref()), (Outcome::Failed, Some(said)));
    }
}

#[tokio::test]
async fn a_panic_is_every_messages_panic() {
    let route = noting(&Calls::default(), |orders| assert_eq!(orders.len(), 0));
    assert_eq!(outcomes(&consumer(route), ["1", "2"]).await, [Outcome::Panicked, Outcome::Panicked]);
}

/// Says when it is dropped.
struct Dropped(Arc<AtomicBool>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

#[tokio::test]
async fn a_time_out_is_every_messages_and_cancels_the_handler() {
    let dropped = Arc::new(AtomicBool::new(false));
    let flag = dropped.clone();
    let route = batch_handler("orders", move |_: Vec<BatchOrder>| {
        let dropped = Dropped(flag.clone());
        async move {
            std::future::pending::<()>().await;
            drop(dropped);
        }
    });
    let consumer = consumer(route.key(BatchOrder::idempotency_key).timeout(Duration::from_millis(200)));
    assert_eq!(outcomes(&consumer, ["1", "2"]).await, [Outcome::TimedOut, Outcome::TimedOut]);
    assert!(dropped.load(Ordering::Acquire));
}

#[tokio::test]
async fn a_batch_is_no_longer_than_it_may_be() {
    let calls = Calls::default();
    let ids = ["1", "2", "3", "4", "5"];
    let sizes = |calls: &Calls| calls.all().iter().map(Vec::len).collect::<Vec<_>>();
    outcomes(&consumer(noting(&calls, |_| ()).max_batch(2)), ids).await;
    assert_eq!(sizes(&calls), [2, 2, 1]);
    let calls = Calls::default();
    outcomes(&consumer(noting(&calls, |_| ()).concurrency(3)), ids).await;
    assert_eq!(sizes(&calls), [3, 2]);
}

#[tokio::test]
async fn each_message_of_a_batch_has_its_own_delivery_key_lease_and_attempt() {
    #[idempotent(key = "id", topic = "orders", max_attempts = 3, batch)]
    async fn index(orders: Batch<BatchOrder>, State(seen): State<Arc<AtomicUsize>>) -> BatchResult {
        let mut failures = BatchFailures::new();
        for (place, order) in orders.iter().enumerate() {
            assert_eq!(order.delivery().keys(), Some(order.id.as_str()));
            assert_eq!(order.key().cloned().ok_or("no key"), IdempotencyKey::new(&order.id).map_err(|_| ""));
            assert!(!order.lease().is_lost() && order.attempt().max() == 3);
            if order.id == "twice" && order.attempt().number() == 1 {
                failures.add(place, "again");
            }
            seen.fetch_add(1, Ordering::Relaxed);
        }
        let leases: std::collections::HashSet<_> =
            orders.iter().map(|order| order.lease().token().to_bytes()).collect();
        assert_eq!(leases.len(), orders.len());
        Ok(failures)
    }

    let seen = Arc::new(AtomicUsize::new(0));
    let builder = Consumer::builder("g").store(MemoryStore::new()).state(seen.clone());
    let consumer = builder.handlers(handlers![index]).test().unwrap();
    let order = |id| Delivery::builder("orders").keys(id).body(format!(r#"{{"id":"{id}"}}"#)).build();
    let outcomes = |decisions: Vec<crate::testing::Decision>| {
        decisions.into_iter().map(|d| d.outcome).collect::<Vec<_>>()
    };
    let first = consumer.deliver_all([order("once"), order("twice")]).await;
    assert_eq!(outcomes(first), [Outcome::Completed, Outcome::Failed]);
    let second = consumer.deliver_all([order("once"), order("twice")]).await;
    assert_eq!(outcomes(second), [Outcome::Duplicate, Outcome::Completed]);
    assert_eq!(seen.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn a_type_is_a_batch_handler_without_a_macro_and_its_states_are_checked() {
    struct BatchByHand;
    impl BatchHandler<BatchOrder> for BatchByHand {
        fn needs(&self, needs: &mut Needs) {
            needs.state::<Calls>();
        }

        fn call<'d>(&'d self, orders: Batch<BatchOrder>, call: BatchCall<'d>) -> BoxFuture<'d, BatchResult> {
            Box::pin(async move {
                call.state::<Calls>()?.note(&orders.into_payloads());
                Ok(BatchFailures::new())
            })
        }
    }
    let route = || batch_handler("orders", BatchByHand).key(BatchOrder::idempotency_key);
    let builder = || Consumer::builder("g").store(MemoryStore::new()).handlers([route()]);
    let missing = builder().test().unwrap_err().to_string();
    assert!(missing.contains("::BatchByHand` takes `State<"), "{missing}");
    let calls = Calls::default();
    let consumer = builder().state(calls.clone()).test().unwrap();
    assert_eq!(outcomes(&consumer, ["1", "2"]).await, [Outcome::Completed; 2]);
    assert_eq!(calls.all(), [["1", "2"]]);
}

#[test]
fn the_most_messages_of_a_batch_are_checked() {
    let fault = |route: Route| route.check().unwrap_err().to_string();
    let batch = || noting(&Calls::default(), |_| ());
    assert!(fault(batch().orderly()).contains("each batch would have one message"));
    assert_eq!(batch().max_batch(32).check(), Ok(()));
    for wrong in [0, 33] {
        assert!(fault(batch().max_batch(wrong)).contains("must be 1 to 32"), "{wrong}");
    }
    let one = handler("orders", |_: BatchOrder| async {}).key(BatchOrder::idempotency_key);
    assert!(fault(one.max_batch(3)).contains("one by one"));
}

#[tokio::test]
async fn a_handler_is_called_in_a_unit_test_as_any_function() {
    #[idempotent(key = "id", topic = "orders", batch)]
    async fn index(orders: Vec<BatchOrder>) -> usize_result::Length {
        usize_result::Length(orders.len())
    }
    mod usize_result {
        pub(super) struct Length(pub(super) usize);
        impl crate::handler::BatchReturn for Length {
            fn into_batch_result(self) -> crate::BatchResult {
                Ok(crate::BatchFailures::new())
            }
        }
    }
    assert_eq!(index(vec![BatchOrder { id: "1".to_owned() }]).await.0, 1);
    let item = BatchItem::new(BatchOrder { id: "1".to_owned() }, order("1"));
    let batch: Batch<BatchOrder> = [item].into_iter().collect();
    assert_eq!((batch.len(), batch[0].attempt().number(), batch[0].key().is_none()), (1, 1, true));
}

/// Gives a message's key to somebody else, as after a pause of this process that was longer than the lease.
async fn take_away(store: &MemoryStore, order: &BatchItem<BatchOrder>) {
    let key = RecordKey::new(Namespace::new(["", "g", "scope", "orders"]), order.key().unwrap().clone());
    let token = order.lease().token();
    let day = Duration::from_hours(24);
    let released = ReleaseRequest::new(key.clone(), token, day, Attempts::Keep);
    assert!(matches!(store.release(&[released]).await.unwrap()[0], Ok(Answer::Done)));
    let claim = ClaimRequest::new(key, Token::random(), day, day, idem_core::MemberId::random());
    assert!(matches!(store.claim(&[claim]).await.unwrap()[0], Ok(Claim::Claimed { .. })));
}

/// A handler from which the leases of `lost` are taken, and which then goes on until all of these have seen it.
fn losing(store: &MemoryStore, lost: &'static [&'static str], ended: &Arc<AtomicBool>) -> TestConsumer {
    let (held, ended) = (store.clone(), ended.clone());
    let route = batch_handler("orders", move |orders: Batch<BatchOrder>| {
        let (store, ended) = (held.clone(), ended.clone());
        async move {
            let is_lost = |order: &&BatchItem<BatchOrder>| lost.contains(&order.id.as_str());
            for order in orders.iter().filter(is_lost) {
                take_away(&store, order).await;
            }
            for order in orders.iter().filter(is_lost) {
                order.lease().lost().await;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
            ended.store(true, Ordering::Release);
        }
    });
    let route = route.key(BatchOrder::idempotency_key).scope("orders").lease(Duration::from_millis(300));
    Consumer::builder("g").store(store.clone()).handlers([route]).test().unwrap()
}

#[tokio::test]
async fn a_lost_lease_takes_its_message_out_of_the_batch_and_the_others_complete() {
    let (store, ended) = (MemoryStore::new(), Arc::new(AtomicBool::new(false)));
    let consumer = losing(&store, &["2"], &ended);
    assert_eq!(
        outcomes(&consumer, ["1", "2", "3"]).await,
        [Outcome::Completed, Outcome::LeaseLost, Outcome::Completed]
    );
    assert!(ended.load(Ordering::Acquire), "the call went on for the others");
    assert_eq!(outcomes(&consumer, ["1", "2"]).await, [Outcome::Duplicate, Outcome::InProgress]);
}

#[tokio::test]
async fn a_batch_of_which_no_message_is_left_is_cancelled() {
    let (store, ended) = (MemoryStore::new(), Arc::new(AtomicBool::new(false)));
    let consumer = losing(&store, &["1", "2"], &ended);
    assert_eq!(outcomes(&consumer, ["1", "2"]).await, [Outcome::LeaseLost; 2]);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!ended.load(Ordering::Acquire));
}

/// Invariant 4: a run whose lease is over before it begins has no seat in the call, which waits for it no longer.
#[tokio::test]
async fn a_message_whose_run_does_not_begin_is_not_in_the_batch() {
    let calls = Calls::default();
    let route = noting(&calls, |_| ());
    let seat = route.handler().gather().unwrap();
    let run = |id| seat(route.handler().prepare(&Arc::new(order(id)), false).unwrap().run);
    let (first, second, third) = (run("1"), run("2"), run("3"));
    drop(seat);
    let context = |id| CallContext {
        delivery: Arc::new(order(id)),
        states: Arc::default(),
        lease: Lease::detached(),
        attempt: Attempt::new(1, 1),
        transaction: None,
    };
    let begun = futures_util::future::join(first.call(context("1")), third.call(context("3")));
    let (begun, ()) = futures_util::future::join(begun, async move { drop(second) }).await;
    assert!(begun.0.is_ok() && begun.1.is_ok());
    assert_eq!(calls.all(), [["1", "3"]]);
}

/// The user's runtime may go away between the end of a call and the moment when its runs hear of it.
#[tokio::test]
async fn a_message_of_a_batch_that_was_handled_is_completed_before_its_run_hears_of_it() {
    let store = MemoryStore::new();
    let gate = Engine::new(Arc::new(store.clone())).gate("index", Settings::new().resolve().unwrap());
    let (calls, key) =
        (Calls::default(), |id| RecordKey::new(Namespace::new(["test"]), IdempotencyKey::new(id).unwrap()));
    let route = noting(&calls, |_| ());
    let seat = route.handler().gather().unwrap();
    let mut leaders: VecDeque<Leader> =
        ["1", "2"].map(|id| Job::new(key(id))).map(|job| gate.enter(job).into_leader().unwrap()).into();
    let mut runs = Vec::new();
    for (admission, id) in gate.claim(&mut leaders).await.into_iter().zip(["1", "2"]) {
        let Admission::Run(claimed) = admission else { panic!("fresh keys run: {admission:?}") };
        let run = seat(route.handler().prepare(&Arc::new(order(id)), false).unwrap().run);
        let context = move |lease, attempt| CallContext {
            delivery: Arc::new(order(id)),
            states: Arc::default(),
            lease,
            attempt,
            transaction: None,
        };
        runs.push(claimed.run(move |lease, attempt| run.call(context(lease, attempt))).boxed());
    }
    drop(seat);
    let (mut last, mut first) = (runs.pop().unwrap(), runs.pop().unwrap());
    assert!((&mut first).now_or_never().is_none(), "it waits for the other one's seat");
    assert!((&mut last).now_or_never().is_some(), "the call is over");
    drop((first, last));
    assert_eq!(calls.all(), [["1", "2"]]);
    let begun = Instant::now();
    for id in ["1", "2"] {
        while store.read(&key(id)).await.unwrap().unwrap().state != idem_core::State::Completed {
            assert!(begun.elapsed() < Duration::from_secs(10), "the key {id} is not completed");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

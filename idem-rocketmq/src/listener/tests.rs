//! Listener calls without a broker.

mod aside;
mod doubles;
mod panics;

use std::mem;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use idem_core::clock::{LONGEST, extremes};
use idem_core::engine::Engine;
use idem_core::{HandlerResult, IdempotencyKey, MemoryStore, Reject, Retry, UNLIMITED, Undecodable};
use parking_lot::Mutex;
use tokio::runtime::Handle;

use self::doubles::{CallNotingStore, CopyCountingBroker, RefusingBroker, ThreadNotingBroker};
use super::{Bridge, Broker, FEW, THREADS};
use crate::client::{
    self, ClientError, ConsumeStatus, CopyExtent, CopyPurpose, Delivery, DeliveryBuilder, Listener as _,
    Queue, Queues, Received,
};
use crate::codec::Text;
use crate::consumer::Consumer;
use crate::handler::{Route, handler_with};

const TOPIC: &str = "orders";

fn bridge(store: &CallNotingStore, route: Route) -> Arc<Bridge> {
    let builder = Consumer::builder("group").store(store.clone()).handlers([route]);
    let (plan, store) = builder.plan_without_broker().unwrap();
    let engine = Engine::new(store);
    let dispatch = plan.dispatch(&engine, Some(&Handle::current()));
    Arc::new(Bridge::new("group".into(), dispatch, engine, Handle::current()))
}

/// One call with these messages, whose bodies are their numbers.
fn consume(bridge: &Arc<Bridge>, messages: Range<usize>) -> ConsumeStatus {
    consume_all(bridge, &messages.map(message).collect::<Vec<_>>())
}

fn consume_all(bridge: &Arc<Bridge>, messages: &[Received<'static>]) -> ConsumeStatus {
    bridge.clone().consume(messages, &queue())
}

fn queue() -> Queue {
    Queue::from_parts(TOPIC, "broker", 0)
}

fn message(number: usize) -> Received<'static> {
    message_of(number, number.to_string().into(), &[])
}

fn message_of(number: usize, body: Bytes, properties: &[(&str, &str)]) -> Received<'static> {
    let delivery = Delivery::builder(TOPIC).offset(number as u64).body(body);
    let named = |delivery: DeliveryBuilder, (name, value): &(&str, &str)| delivery.property(*name, *value);
    client::received(&properties.iter().fold(delivery, named).build())
}

fn route(work: impl Fn(String) -> HandlerResult + Clone + Send + Sync + 'static) -> Route {
    let route = handler_with(TOPIC, Text, move |number: String| {
        let work = work.clone();
        async move { work(number) }
    });
    route.key(|number: &String| IdempotencyKey::new(number))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_call_of_quick_handlers_costs_two_round_trips() {
    let store = CallNotingStore::default();
    let bridge = bridge(&store, route(|_| Ok(())));
    let mut calls = Vec::new();
    // On a busy machine a call can be kept from its thread for so long that its handlers do not count as quick.
    for turn in 0..3 {
        let messages = turn * 32..(turn + 1) * 32;
        assert_eq!(tokio::task::block_in_place(|| consume(&bridge, messages)), ConsumeStatus::Success);
        calls.push(mem::take(&mut *store.calls.lock()));
    }
    assert!(calls.contains(&vec![("claim", 32), ("complete", 32)]), "{calls:?}");
}

/// A crash while it blocks would repeat them.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_handler_that_blocks_holds_up_no_completion() {
    let (store, are_complete) = (CallNotingStore::default(), Arc::new(AtomicBool::new(false)));
    let seen = (store.clone(), are_complete.clone());
    let bridge = bridge(
        &store,
        route(move |number| {
            let (store, are_complete) = &seen;
            let begun = Instant::now();
            while number == "7" && begun.elapsed() < Duration::from_secs(20) {
                if store.completed() == 7 {
                    are_complete.store(true, Ordering::SeqCst);
                    break;
                }
                std::thread::sleep(Duration::from_millis(2));
            }
            Ok(())
        }),
    );
    super::run::watch(&bridge);
    assert_eq!(tokio::task::block_in_place(|| consume(&bridge, 0..12)), ConsumeStatus::Success);
    assert!(are_complete.load(Ordering::SeqCst), "{:?}", store.calls.lock());
    assert_eq!(store.completed(), 12);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn calls_that_take_long_are_given_all_threads() {
    let widening = Arc::new(ThreadNotingBroker::default());
    let seen = widening.clone();
    // The handlers are over when the client has taken more threads.
    let slow = handler_with(TOPIC, Text, move |_: String| {
        let widening = seen.clone();
        async move {
            while widening.threads.load(Ordering::SeqCst) == 0 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
    });
    let bridge = bridge(&CallNotingStore::default(), slow.key(|number: &String| IdempotencyKey::new(number)));
    let client: Arc<dyn Broker> = widening.clone();
    bridge.connect(&client);
    let call = |number: usize| {
        let bridge = bridge.clone();
        tokio::task::spawn_blocking(move || consume(&bridge, number..number + 1))
    };
    let calls: Vec<_> = (0..FEW as usize).map(call).collect();
    for call in calls {
        let told = tokio::time::timeout(Duration::from_secs(30), call).await;
        assert_eq!(told.expect("no thread more was taken").unwrap(), ConsumeStatus::Success);
    }
    assert_eq!(widening.threads.load(Ordering::SeqCst), THREADS);
}

/// Handlers that block the workers of their runtime: what waits for a worker has not begun, and its time does not run.
async fn none_is_judged_unrun(route: Route, runs: Arc<AtomicU32>) {
    let route = route.timeout(Duration::from_secs(1)).max_attempts(1).concurrency(100);
    let (bridge, taking, _client) = connected(&CallNotingStore::default(), route);
    let calls: Vec<_> = (0..4)
        .map(|call| {
            let bridge = bridge.clone();
            tokio::task::spawn_blocking(move || consume(&bridge, call * 25..(call + 1) * 25))
        })
        .collect();
    for call in calls {
        let told = tokio::time::timeout(Duration::from_mins(1), call).await;
        assert_eq!(told.expect("a call hangs").unwrap(), ConsumeStatus::Success);
    }
    let (run, sent) = (runs.load(Ordering::SeqCst), taking.0.load(Ordering::SeqCst));
    assert_eq!((run, sent), (100, 0), "messages that ran, and copies");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_that_wait_for_a_blocked_runtime_are_no_attempts() {
    let runs = Arc::new(AtomicU32::new(0));
    let seen = runs.clone();
    // Two at a time, 50 ms each: the last one is polled two and a half time-outs after it was claimed.
    let work = move |_: String| {
        let runs = seen.clone();
        async move {
            std::thread::sleep(Duration::from_millis(50));
            runs.fetch_add(1, Ordering::SeqCst);
        }
    };
    let route = handler_with(TOPIC, Text, work).key(|number: &String| IdempotencyKey::new(number));
    none_is_judged_unrun(route, runs).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_is_too_large_is_asked_for_with_less_until_it_is_taken() {
    let wanted = [
        ("retry", CopyExtent::Full),
        ("retry", CopyExtent::Bare),
        ("dead letter", CopyExtent::Bare),
        ("dead letter", CopyExtent::Reference),
    ];
    for refused in 0..4 {
        let broker = RefusingBroker::new(&vec![true; refused]);
        let bridge = broker.bridge(|| Err("no".into()));
        assert_eq!(tokio::task::block_in_place(|| consume(&bridge, 0..1)), ConsumeStatus::Success);
        assert_eq!(*broker.asked.lock(), wanted[..=refused]);
    }
    let broker = RefusingBroker::new(&[true, true]);
    let bridge = broker.bridge(|| Err(Reject::new("no").into()));
    assert_eq!(tokio::task::block_in_place(|| consume(&bridge, 0..1)), ConsumeStatus::Success);
    let extents: Vec<_> = broker.asked.lock().iter().map(|(_, extent)| *extent).collect();
    assert_eq!(extents, [CopyExtent::Full, CopyExtent::Bare, CopyExtent::Reference]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_may_have_no_copies_holds_its_messages_and_a_shutdown_leaves_them_at_once() {
    let broker = RefusingBroker::new(&[false; 10_000]);
    let bridge = broker.bridge(|| Err(Reject::new("no").into()));
    let call = tokio::task::spawn_blocking({
        let bridge = bridge.clone();
        move || consume(&bridge, 0..1)
    });
    while broker.asked.lock().len() < 3 {
        assert!(!call.is_finished(), "it is neither acked nor lost");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let begun = Instant::now();
    bridge.close();
    assert_eq!(call.await.unwrap(), ConsumeStatus::Leave);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert!(broker.asked.lock().iter().all(|(_, extent)| *extent == CopyExtent::Full));
}

/// A bridge with a client that takes everything.
fn connected(
    store: &CallNotingStore,
    route: Route,
) -> (Arc<Bridge>, Arc<CopyCountingBroker>, Arc<dyn Broker>) {
    let (bridge, taking) = (bridge(store, route), Arc::new(CopyCountingBroker::default()));
    let client: Arc<dyn Broker> = taking.clone();
    bridge.connect(&client);
    (bridge, taking, client)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn whatever_delay_a_handler_asks_for_its_queue_goes_on() {
    for time in extremes() {
        let fails = move || route(move |_| Err(Retry::after(time).into())).max_attempts(UNLIMITED);
        let (bridge, _, _client) = connected(&CallNotingStore::default(), fails().orderly());
        // Again while the first call's delay is remembered.
        for _ in 0..2 {
            let told = tokio::task::block_in_place(|| consume(&bridge, 0..2));
            let ConsumeStatus::Suspend(delay) = told else { panic!("{told:?} for {time:?}") };
            let longest = time.min(LONGEST);
            assert!(delay <= longest && delay >= longest.saturating_sub(Duration::from_mins(1)), "{delay:?}");
        }
        let (bridge, taking, _client) = connected(&CallNotingStore::default(), fails());
        assert_eq!(tokio::task::block_in_place(|| consume(&bridge, 0..2)), ConsumeStatus::Success);
        assert_eq!(taking.0.load(Ordering::SeqCst), 2, "two retries");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn early_retries_of_an_orderly_queue_all_go_on_waiting() {
    let due = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + Duration::from_mins(1);
    let due = format!("{},120000", due.as_millis());
    let early = |number: usize| message_of(number, number.to_string().into(), &[(client::DUE, &due)]);
    let route = route(|_| panic!("no attempt before its time"));
    let (bridge, copies, _client) = connected(&CallNotingStore::default(), route.orderly());
    let (messages, retries) = ([0, 1, 2].map(early), Queue::from_parts(&*bridge.retry_topic, "broker", 0));
    let status = tokio::task::block_in_place(|| bridge.clone().consume(&messages, &retries));
    assert_eq!((status, copies.0.load(Ordering::SeqCst)), (ConsumeStatus::Success, 3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn whatever_count_a_message_carries_it_is_settled() {
    for undecodable in [Undecodable::DeadLetter, Undecodable::Retry] {
        let (bridge, taking, _client) =
            connected(&CallNotingStore::default(), route(|_| Err("no".into())).undecodable(undecodable));
        let counts = [0, 1, i32::MAX, i32::MIN, -1].into_iter().flat_map(|reconsumed| {
            ["0", "4294967294", "4294967295", "4294967296", "-1", "many"].map(|count| (reconsumed, count))
        });
        let messages = counts.zip(0..).flat_map(|((reconsumed, count), number)| {
            let numbered = |body: Vec<u8>, number: usize| {
                message_of(number, body.into(), &[("IDEM_ATTEMPTS", count)]).with_reconsume_times(reconsumed)
            };
            [numbered(number.to_string().into(), 2 * number), numbered(vec![0xff], 2 * number + 1)]
        });
        let messages: Vec<_> = messages.collect();
        for some in messages.chunks(32) {
            assert_eq!(tokio::task::block_in_place(|| consume_all(&bridge, some)), ConsumeStatus::Success);
        }
        assert_eq!(taking.0.load(Ordering::SeqCst) as usize, messages.len());
    }
}

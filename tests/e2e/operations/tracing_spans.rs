//! Each run of a handler is in a span.
//!
//! Run alone: `cargo test --workspace --all-features --test e2e -- operations::tracing_spans::`

use std::sync::{Arc, Mutex};
use std::thread::ThreadId;

use idem_rocketmq::batch_handler;
use idem_rocketmq::prelude::*;

use crate::support::kit::{self, Event, Order, SOON};
use crate::support::place::Place;

const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// The events of a group's handler.
fn said(group: &str) -> Vec<Event> {
    kit::events(|event| {
        event.field("said").is_some() && event.span.get("group").is_some_and(|of| of == group)
    })
}

fn in_span<'e>(event: &'e Event, name: &str) -> Option<&'e str> {
    event.span.get(name).map(String::as_str)
}

/// Says something, goes on elsewhere, and says something again; fails the first attempt.
fn talking(topic: &str, threads: &Arc<Mutex<Vec<ThreadId>>>) -> Route {
    let threads = threads.clone();
    handler(topic, move |order: Order, attempt: Attempt| {
        let threads = threads.clone();
        let note = move |said| {
            threads.lock().unwrap().push(std::thread::current().id());
            tracing::info!(target: "idem_tests", said, id = order.id);
        };
        async move {
            note("before");
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            note("after");
            if attempt.number() == 1 { Err("once more") } else { Ok(()) }
        }
    })
    .key(|order| order.id.clone())
    .backoff(kit::secondly())
    .named("talk")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_handler_says_is_in_the_span_of_its_message_also_after_an_await_and_in_a_retry() {
    let place = Place::plain(1).await;
    let (topic, group) = (place.topic.as_str(), place.group.as_str());
    let (store, threads) = (MemoryStore::new(), Arc::default());
    let consumer = place.member(&store, [talking(topic, &threads)]).start().await.unwrap();
    let producer = place.sender().start().await.unwrap();
    let message = OutgoingMessage::new(topic, "7", r#"{"id":"7"}"#).tag("PAID");
    producer.send(&message.property("traceparent", TRACEPARENT)).await.unwrap();
    kit::until_equal("events", 4, SOON, async || said(group).len()).await;

    let (events, process) = (said(group), format!("process {topic}"));
    for (place, event) in events.iter().enumerate() {
        let attempt = if place < 2 { "1" } else { "2" };
        let wanted = [
            ("traceparent", TRACEPARENT),
            ("group", group),
            ("topic", topic),
            ("tag", "PAID"),
            ("handler", "talk"),
            ("attempt", attempt),
            ("otel.name", process.as_str()),
            ("otel.kind", "consumer"),
        ];
        assert_eq!(wanted.map(|(name, _)| (name, in_span(event, name).unwrap_or("none"))), wanted);
        assert!(in_span(event, "message_id").is_some() && in_span(event, "key_hash").is_some(), "{event:?}");
    }
    let outcome = kit::outcomes(group).remove(0);
    assert_eq!(outcome.field("key_hash"), in_span(&events[0], "key_hash"));
    assert!(outcome.span.is_empty(), "the span is the handler's alone");
    let threads = threads.lock().unwrap().clone();
    assert_ne!(threads[0], threads[1], "a run begins on a thread of the consumer's and goes on elsewhere");
    consumer.shutdown().await;
    producer.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_property_that_is_no_trace_context_is_not_logged() {
    let place = Place::plain(1).await;
    let (store, threads) = (MemoryStore::new(), Arc::default());
    let consumer = place.member(&store, [talking(&place.topic, &threads)]).start().await.unwrap();
    place.send(place.order("1").property("traceparent", kit::MARKER)).await;
    place.send(place.order("2")).await;
    kit::until_equal("events", 8, SOON, async || said(&place.group).len()).await;
    assert!(said(&place.group).iter().all(|event| in_span(event, "traceparent").is_none()));
    consumer.shutdown().await;
    assert!(kit::leaks().iter().all(|leak| !leak.contains("span")), "{:?}", kit::leaks());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_of_a_batch_handler_has_one_span() {
    let place = Place::plain(1).await;
    place.send_all(place.orders(20)).await;
    let route = batch_handler(&place.topic, async |orders: Vec<Order>| {
        tokio::task::yield_now().await;
        tracing::info!(target: "idem_tests", said = "all", count = orders.len());
    });
    let route = route.key(|order| order.id.clone()).named("index");
    let consumer = place.member(&MemoryStore::new(), [route]).start().await.unwrap();
    let said = || said(&place.group);
    let count = |event: &Event| event.field("count").unwrap().parse::<usize>().unwrap();
    kit::until("all messages", SOON, async || said().iter().map(count).sum::<usize>() == 20).await;
    for event in said() {
        assert_eq!(in_span(&event, "messages"), event.field("count"));
        assert_eq!((in_span(&event, "handler"), in_span(&event, "message_id")), (Some("index"), None));
    }
    consumer.shutdown().await;
}

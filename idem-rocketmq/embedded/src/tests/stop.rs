use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::*;
use crate::Outgoing;

/// A listener that blocks until the returned sender speaks or is dropped, then gives the answer.
fn blocking(answer: ConsumeStatus) -> (Arc<Recorder>, mpsc::Sender<()>) {
    let (release, released) = mpsc::channel();
    let released = Mutex::new(released);
    let listener = Recorder::new(move |_| {
        let _ = released.lock().recv();
        answer
    });
    (listener, release)
}

async fn a_blocked_call_has_no_effect(topic: &str, answer: ConsumeStatus) {
    let broker = broker().await;
    broker.create_topic(topic, 1).await.unwrap();
    broker.producer().send(Outgoing::new(topic, "x")).await.unwrap();
    let group = format!("{topic}_group");
    let (listener, release) = blocking(answer);
    let client = start(settings(&broker, &group, topic), &listener).await;
    until("it comes", || listener.count() == 1).await;
    let begin = Instant::now();
    client.shutdown().await;
    println!("shutdown with a blocked call took {:?}", begin.elapsed());
    drop(release);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(broker.backlog(&group, topic).await.unwrap(), 1);
    assert_eq!(broker.read_all(&format!("%RETRY%{group}")).await.unwrap(), []);

    let next = Recorder::acking();
    let client = start(settings(&broker, &group, topic), &next).await;
    assert_eq!(delivery(&next.message(0).await).reconsume_times(), 0);
    until_acked(&broker, &group, topic).await;
    client.shutdown().await;
}

#[tokio::test]
async fn a_blocked_call_neither_acks_nor_sends_back() {
    a_blocked_call_has_no_effect("blocked_success", ConsumeStatus::Success).await;
    a_blocked_call_has_no_effect("blocked_leave", ConsumeStatus::Leave).await;
}

#[tokio::test]
async fn a_call_that_leaves_its_messages_sends_nothing_back() {
    let broker = broker().await;
    broker.create_topic("ending", 1).await.unwrap();
    broker.producer().send(Outgoing::new("ending", "x")).await.unwrap();
    let (listener, release) = blocking(ConsumeStatus::Leave);
    let client = start(settings(&broker, "ending_group", "ending"), &listener).await;
    until("it comes", || listener.count() == 1).await;
    let down = client.shutdown();
    drop(release);
    down.await;
    assert_eq!(broker.backlog("ending_group", "ending").await.unwrap(), 1);
    assert_eq!(broker.read_all("%RETRY%ending_group").await.unwrap(), []);
}

#[tokio::test]
async fn what_was_answered_before_the_shutdown_is_acked() {
    let broker = broker().await;
    broker.create_topic("answered", 2).await.unwrap();
    broker.producer().send_all(vec![Outgoing::new("answered", "x"); 50]).await.unwrap();
    let listener = Recorder::acking();
    let client = start(settings(&broker, "answered_group", "answered"), &listener).await;
    until("all come", || listener.count() == 50).await;
    client.shutdown().await;
    assert_eq!(broker.backlog("answered_group", "answered").await.unwrap(), 0);
}

#[tokio::test]
async fn a_dropped_client_consumes_no_more() {
    let broker = broker().await;
    broker.create_topic("dropped", 1).await.unwrap();
    let listener = Recorder::acking();
    let client = start(settings(&broker, "dropped_group", "dropped"), &listener).await;
    broker.producer().send(Outgoing::new("dropped", "1")).await.unwrap();
    until("the first comes", || listener.count() == 1).await;
    drop(client);
    sleep(Duration::from_secs(3)).await;
    broker.producer().send(Outgoing::new("dropped", "2")).await.unwrap();
    sleep(Duration::from_secs(3)).await;
    assert_eq!(listener.count(), 1);
    until("the listener is let go", || Arc::strong_count(&listener) == 1).await;
}

#[test]
fn a_client_outlives_the_runtime_that_started_it() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let listener = Recorder::acking();
    let (broker, client) = runtime().block_on(async {
        let broker = broker().await;
        broker.create_topic("orphan", 1).await.unwrap();
        let client = start(settings(&broker, "orphan_group", "orphan"), &listener).await;
        (broker, client)
    });
    runtime().block_on(async {
        broker.producer().send(Outgoing::new("orphan", "x")).await.unwrap();
        until("it comes", || listener.count() == 1).await;
        client.shutdown().await;
        until("the listener is let go", || Arc::strong_count(&listener) == 1).await;
    });
}

#[tokio::test]
async fn a_second_shutdown_waits_for_the_same_end_and_later_calls_are_refused() {
    let broker = broker().await;
    broker.create_topic("twice", 1).await.unwrap();
    broker.producer().send(Outgoing::new("twice", "x")).await.unwrap();
    let listener = Recorder::acking();
    let client = start(settings(&broker, "twice_group", "twice"), &listener).await;
    let message = listener.message(0).await;
    tokio::join!(client.shutdown(), client.shutdown());
    client.shutdown().await;
    let error = client.retry(&message, Retry::default()).await.unwrap_err();
    assert!(matches!(error, ClientError::Stopped));
}

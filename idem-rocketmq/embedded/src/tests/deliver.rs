use std::time::{Duration, Instant};

use super::*;
use crate::Outgoing;

#[tokio::test]
async fn the_first_message_arrives_with_all_that_it_holds() {
    let broker = broker().await;
    broker.create_topic("first", 4).await.unwrap();
    let message = Outgoing::new("first", "body").tag("PAID").key("k1").key("k2").property("colour", "blue");
    let unique_key = broker.producer().send(message).await.unwrap();
    let listener = Recorder::acking();
    let begin = Instant::now();
    let client = start(settings(&broker, "first_group", "first"), &listener).await;
    println!("started in {:?}", begin.elapsed());
    let first = delivery(&listener.message(0).await);
    println!("first message {:?} after start was called", begin.elapsed());
    assert_eq!((first.topic(), first.tag()), ("first", Some("PAID")));
    assert_eq!((first.keys(), first.unique_key()), (Some("k1 k2"), Some(unique_key.as_str())));
    assert_eq!((first.broker(), first.reconsume_times()), ("embedded", 0));
    assert_eq!((&first.body()[..], first.property("colour")), (&b"body"[..], Some("blue")));
    until_acked(&broker, "first_group", "first").await;
    client.shutdown().await;
}

#[tokio::test]
async fn a_call_brings_up_to_32_messages() {
    let broker = broker().await;
    broker.create_topic("batches", 1).await.unwrap();
    broker.producer().send_all(vec![Outgoing::new("batches", "x"); 100]).await.unwrap();
    let listener = Recorder::acking();
    let client = start(settings(&broker, "batches_group", "batches"), &listener).await;
    until("all come", || listener.count() >= 100).await;
    assert_eq!(listener.calls.lock().iter().max(), Some(&32));
    client.shutdown().await;
    assert_eq!(broker.backlog("batches_group", "batches").await.unwrap(), 0);
}

#[tokio::test]
async fn only_the_subscribed_tags_come() {
    let broker = broker().await;
    broker.create_topic("tags", 1).await.unwrap();
    for tag in ["A", "B", "C"] {
        broker.producer().send(Outgoing::new("tags", tag).tag(tag)).await.unwrap();
    }
    let listener = Recorder::acking();
    let mut settings = settings(&broker, "tags_group", "tags");
    settings.subscriptions[0].1 = Expression::Tags("A||C".to_owned());
    let client = start(settings, &listener).await;
    until("two come", || listener.count() >= 2).await;
    until_acked(&broker, "tags_group", "tags").await;
    let mut tags: Vec<_> =
        listener.deliveries().iter().filter_map(|one| one.tag().map(str::to_owned)).collect();
    tags.sort();
    assert_eq!(tags, ["A", "C"]);
    client.shutdown().await;
}

#[tokio::test]
async fn a_topic_created_after_the_start_delivers_within_three_seconds() {
    let broker = broker().await;
    broker.create_topic("early", 1).await.unwrap();
    let listener = Recorder::acking();
    let mut settings = settings(&broker, "late_group", "late");
    settings.subscriptions.push(("early".to_owned(), Expression::Tags("*".to_owned())));
    let client = start(settings, &listener).await;
    let come = |topic: &'static str, count| {
        let listener = Arc::clone(&listener);
        let of_topic = move || listener.deliveries().iter().filter(|one| one.topic() == topic).count();
        async move { until(topic, || of_topic() == count).await }
    };
    broker.producer().send(Outgoing::new("early", "1")).await.unwrap();
    come("early", 1).await;
    broker.create_topic("late", 4).await.unwrap();
    broker.producer().send(Outgoing::new("late", "x")).await.unwrap();
    broker.producer().send(Outgoing::new("early", "2")).await.unwrap();
    let (took, usual) = tokio::join!(come("late", 1), come("early", 2));
    println!("new topic's first message after {took:?}, another message after {usual:?}");
    // The time that a busy machine takes for any message is not the new topic's; on an idle one it is a few milliseconds.
    assert!(took < Duration::from_secs(3) + usual, "{took:?}");
    client.shutdown().await;
}

#[tokio::test]
async fn a_namespace_is_hidden_from_the_listener() {
    let broker = broker().await;
    broker.create_topic("ns%spaced", 1).await.unwrap();
    broker.producer().send(Outgoing::new("ns%spaced", "x")).await.unwrap();
    let listener = Recorder::acking();
    let mut settings = settings(&broker, "spaced_group", "spaced");
    settings.cluster.namespace = Some("ns".to_owned());
    let client = start(settings, &listener).await;
    let first = listener.message(0).await;
    assert_eq!(delivery(&first).topic(), "spaced");
    client.retry(&first, Retry::default()).await.unwrap();
    let second = delivery(&listener.message(1).await);
    assert_eq!((second.topic(), second.reconsume_times()), ("spaced", 1));
    client.shutdown().await;
}

#[tokio::test]
async fn a_paused_client_pulls_nothing_until_it_is_resumed() {
    let broker = broker().await;
    broker.create_topic("paused", 1).await.unwrap();
    let listener = Recorder::acking();
    let client = start(settings(&broker, "paused_group", "paused"), &listener).await;
    broker.producer().send(Outgoing::new("paused", "1")).await.unwrap();
    until("the first comes", || listener.count() == 1).await;
    client.pause().await;
    // A long poll that is under way may still bring one message.
    broker.producer().send(Outgoing::new("paused", "2")).await.unwrap();
    sleep(Duration::from_millis(1500)).await;
    let before = listener.count();
    broker.producer().send(Outgoing::new("paused", "3")).await.unwrap();
    sleep(Duration::from_secs(2)).await;
    assert_eq!(listener.count(), before);
    client.resume().await;
    until("the rest comes", || listener.count() == 3).await;
    client.shutdown().await;
}

#[tokio::test]
async fn an_unreachable_name_server_is_named_within_three_seconds() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    for address in [silent.as_str(), "no-such-host.invalid:9876"] {
        let mut settings = ClientSettings::new("lost_group", Cluster::at(address));
        settings.subscriptions.push(("lost".to_owned(), Expression::Tags("*".to_owned())));
        let begin = Instant::now();
        let error = Client::start(settings, Recorder::acking()).await.err().unwrap();
        assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
        assert!(
            matches!(&error, ClientError::NameServerUnreachable { address: named, .. } if named == address)
        );
        assert!(error.to_string().contains("check that it runs"), "{error}");
    }
}

#[tokio::test]
async fn bad_settings_are_errors_before_anything_starts() {
    let broker = broker().await;
    let start = |change: fn(&mut ClientSettings)| {
        let mut settings = settings(&broker, "bad_group", "bad");
        change(&mut settings);
        async move { Client::start(settings, Recorder::acking()).await.err().unwrap() }
    };
    assert!(matches!(start(|s| s.group = "a b".into()).await, ClientError::Group { .. }));
    assert!(matches!(start(|s| s.subscriptions.clear()).await, ClientError::NoSubscription { .. }));
    assert!(matches!(start(|s| s.subscriptions[0].0 = "订".into()).await, ClientError::Topic { .. }));
    assert!(matches!(
        start(|s| s.subscriptions[0].1 = Expression::Tags("A || B".into())).await,
        ClientError::Tag { .. }
    ));
    assert!(matches!(start(|s| s.cluster.name_servers.clear()).await, ClientError::NoNameServer));
    assert!(matches!(
        start(|s| s.cluster.name_servers[0] = "x".into()).await,
        ClientError::NameServerSyntax { .. }
    ));
    assert!(matches!(start(|s| s.listener_threads = 1000).await, ClientError::OutOfRange { .. }));
    assert!(matches!(start(|s| s.batch_size = 0).await, ClientError::OutOfRange { .. }));
}

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::*;
use crate::Outgoing;
use idem_rocketmq_client::DelayBy;

fn one(name: &str, value: &str) -> Vec<(String, String)> {
    vec![(name.to_owned(), value.to_owned())]
}

/// The id of the first copy, which every later one carries.
fn origin(delivery: &Delivery) -> String {
    delivery.property("ORIGIN_MESSAGE_ID").unwrap_or(delivery.message_id()).to_owned()
}

async fn delayed(topic: &str, by: DelayBy, delay: Duration) -> (Duration, Delivery, Delivery) {
    let broker = broker().await;
    broker.create_topic(topic, 4).await.unwrap();
    let message = Outgoing::new(topic, "body").tag("PAID").key("k").property("colour", "blue");
    broker.producer().send(message).await.unwrap();
    let listener = Recorder::acking();
    let group = format!("{topic}_group");
    let mut settings = settings(&broker, &group, topic);
    settings.cluster = settings.cluster.delay_by(by);
    let client = start(settings, &listener).await;
    let first = listener.message(0).await;
    let begin = Instant::now();
    let properties = one("IDEM_ATTEMPTS", "1");
    client.retry(&first, Retry { delay, properties }).await.unwrap();
    println!("confirmed after {:?}", begin.elapsed());
    let second = delivery(&listener.message(1).await);
    let took = begin.elapsed();
    println!("{topic}: {delay:?} by {by:?} took {took:?}");
    until_acked(&broker, &group, &format!("%RETRY%{group}")).await;
    client.shutdown().await;
    assert_eq!(broker.read_all(&format!("%DLQ%{group}")).await.unwrap(), []);
    (took, delivery(&first), second)
}

fn is_a_retry_of(second: &Delivery, first: &Delivery) {
    let lasting = |one: &Delivery| {
        (one.topic().to_owned(), one.body().clone(), origin(one), one.keys().map(str::to_owned))
    };
    assert_eq!(second.reconsume_times(), first.reconsume_times() + 1);
    assert_eq!(lasting(second), lasting(first));
    assert_eq!((second.tag(), second.unique_key()), (first.tag(), first.unique_key()));
    assert_eq!(second.property("colour"), Some("blue"));
    assert_eq!(second.property("IDEM_ATTEMPTS"), Some("1"));
}

#[tokio::test]
async fn a_retry_by_level_comes_after_its_delay_with_all_properties() {
    let (took, first, second) = delayed("by_level", DelayBy::Level, Duration::from_secs(4)).await;
    is_a_retry_of(&second, &first);
    assert!(took >= Duration::from_secs(5) && took < Duration::from_secs(9), "{took:?}");
}

#[tokio::test]
async fn a_retry_by_timer_comes_after_its_delay_with_all_properties() {
    let (took, first, second) = delayed("by_timer", DelayBy::Timer, Duration::from_millis(2500)).await;
    is_a_retry_of(&second, &first);
    assert!(took >= Duration::from_millis(1500) && took < Duration::from_secs(6), "{took:?}");
}

#[tokio::test]
async fn a_retry_without_delay_comes_at_once() {
    let (took, first, second) = delayed("at_once", DelayBy::Level, Duration::ZERO).await;
    is_a_retry_of(&second, &first);
    assert!(took < Duration::from_secs(3), "{took:?}");
}

#[tokio::test]
async fn retries_count_on_beyond_every_bound_of_the_broker() {
    let broker = broker().await;
    broker.create_topic("often", 1).await.unwrap();
    broker.producer().send(Outgoing::new("often", "x")).await.unwrap();
    let listener = Recorder::acking();
    let client = start(settings(&broker, "often_group", "often"), &listener).await;
    for attempt in 0..20 {
        let message = listener.message(attempt).await;
        assert_eq!(delivery(&message).reconsume_times() as usize, attempt);
        client.retry(&message, Retry::default()).await.unwrap();
    }
    let origins: Vec<_> = listener.deliveries().iter().map(origin).collect();
    assert!(origins.iter().all(|origin| *origin == origins[0]));
    client.shutdown().await;
}

#[tokio::test]
async fn a_dead_letter_is_in_the_dead_letter_queue_with_its_properties_and_never_comes_again() {
    let broker = broker().await;
    broker.create_topic("dead", 4).await.unwrap();
    broker.producer().send(Outgoing::new("dead", "body").tag("PAID").key("k")).await.unwrap();
    let listener = Recorder::acking();
    let client = start(settings(&broker, "dead_group", "dead"), &listener).await;
    let message = listener.message(0).await;
    let mut properties = one("IDEM_REASON", "rejected:\u{1}no\u{2}stock");
    properties.extend(one("IDEM_ATTEMPTS", "16"));
    client.dead_letter(&message, properties).await.unwrap();
    let letters = broker.read_all("%DLQ%dead_group").await.unwrap();
    let [letter] = &letters[..] else { panic!("one dead letter, not {letters:?}") };
    assert_eq!(letter.property("IDEM_REASON"), Some("rejected: no stock"));
    assert_eq!(letter.property("IDEM_ATTEMPTS"), Some("16"));
    assert_eq!(letter.property("TAGS"), Some("PAID"));
    assert_eq!(letter.property("KEYS"), Some("k"));
    assert_eq!(letter.property("RETRY_TOPIC"), Some("dead"));
    assert_eq!(letter.property("ORIGIN_MESSAGE_ID"), Some(delivery(&message).message_id()));
    assert_eq!(letter.property("UNIQ_KEY"), delivery(&message).unique_key());
    assert_eq!(&letter.body[..], b"body");
    sleep(Duration::from_secs(3)).await;
    assert_eq!(listener.count(), 1);
    client.shutdown().await;
}

/// As in the first moments of a new group, when its retry topic is on its way from the broker to the name server: a guess of
/// its queues would be right in one of four cases.
#[tokio::test]
async fn a_retry_topic_that_the_name_server_does_not_know_yet_takes_copies() {
    let broker = broker().await;
    for topic in ["new_1", "new_2", "new_3"] {
        let group = format!("{topic}_group");
        broker.create_topic(topic, 4).await.unwrap();
        broker.producer().send(Outgoing::new(topic, "body")).await.unwrap();
        let listener = Recorder::acking();
        let client = start(settings(&broker, &group, topic), &listener).await;
        let first = listener.message(0).await;
        broker.forget_route(&format!("%RETRY%{group}")).await;
        client.retry(&first, Retry::default()).await.unwrap();
        let second = listener.message(1).await;
        assert_eq!(delivery(&second).reconsume_times(), 1);
        client.dead_letter(&second, one("IDEM_REASON", "it is a test")).await.unwrap();
        assert_eq!(broker.read_all(&format!("%DLQ%{group}")).await.unwrap().len(), 1);
        client.shutdown().await;
    }
}

/// The client's own second attempt would have lost the count that makes it one, and say that it worked.
#[tokio::test]
async fn a_dead_letter_that_was_refused_before_is_one_in_the_end() {
    let broker = broker().await;
    let mut refused = 0;
    for topic in ["shrunk_1", "shrunk_2", "shrunk_3"] {
        let group = format!("{topic}_group");
        let retries = format!("%RETRY%{group}");
        broker.create_topic(topic, 1).await.unwrap();
        broker.create_topic(&retries, 4).await.unwrap();
        let listener = Recorder::acking();
        let client = start(settings(&broker, &group, topic), &listener).await;
        broker.producer().send(Outgoing::new(topic, "body")).await.unwrap();
        let first = listener.message(0).await;
        client.retry(&first, Retry::default()).await.unwrap();
        let second = listener.message(1).await;
        // From now on, until it asks for routes again, the client believes in three queues too many.
        broker.create_topic(&retries, 1).await.unwrap();
        for letters in 1..3 {
            while let Err(error) = client.dead_letter(&second, one("IDEM_REASON", "it is a test")).await {
                let error = error.to_string();
                // A busy machine's broker takes nothing for a while.
                let is_busy = error.contains("(response code 2, SystemBusy)");
                assert!(is_busy || error.contains("(response code 1, SystemError)"), "{error}");
                refused += usize::from(!is_busy);
                assert!(refused < 100, "{error}");
            }
            assert_eq!(broker.read_all(&format!("%DLQ%{group}")).await.unwrap().len(), letters);
        }
        client.shutdown().await;
    }
    assert!(refused > 0, "no broker refused anything, so that this has shown nothing");
}

#[tokio::test]
async fn the_largest_message_can_be_retried_and_dead_lettered() {
    let broker = broker().await;
    broker.create_topic("large", 1).await.unwrap();
    // Noise, so that compression cannot help.
    let mut state = 1_u64;
    let noise = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    });
    let body: Bytes = noise.take(4 << 20).collect::<Vec<_>>().into();
    broker.producer().send(Outgoing::new("large", body.clone())).await.unwrap();
    let listener = Recorder::acking();
    let client = start(settings(&broker, "large_group", "large"), &listener).await;
    let first = listener.message(0).await;
    assert_eq!(delivery(&first).body(), &body);
    let reason = one("IDEM_REASON", &"r".repeat(60_000));
    client.retry(&first, Retry { delay: Duration::from_secs(1), properties: reason.clone() }).await.unwrap();
    let second = listener.message(1).await;
    assert_eq!(delivery(&second).body(), &body);
    client.dead_letter(&second, reason).await.unwrap();
    let letters = broker.read_all("%DLQ%large_group").await.unwrap();
    assert_eq!(letters.iter().map(|letter| &letter.body).collect::<Vec<_>>(), [&body]);
    client.shutdown().await;
}

#[tokio::test]
async fn a_body_that_was_compressed_on_the_way_is_the_same_in_a_retry() {
    let broker = broker().await;
    broker.create_topic("compressed", 1).await.unwrap();
    let body = Bytes::from("idem ".repeat(100_000));
    broker.producer().send(Outgoing::new("compressed", body.clone())).await.unwrap();
    let listener = Recorder::acking();
    let client = start(settings(&broker, "compressed_group", "compressed"), &listener).await;
    for attempt in 0..3 {
        let message = listener.message(attempt).await;
        assert_eq!(delivery(&message).body(), &body, "attempt {attempt}");
        client.retry(&message, Retry::default()).await.unwrap();
    }
    client.shutdown().await;
}

#[tokio::test]
async fn the_way_for_messages_without_body_retries_and_dead_letters() {
    let broker = broker().await;
    broker.create_topic("back", 1).await.unwrap();
    broker.producer().send(Outgoing::new("back", "x").tag("T")).await.unwrap();
    let listener = Recorder::acking();
    let client = start(settings(&broker, "back_group", "back"), &listener).await;
    let first = listener.message(0).await;
    client.send_back(&first, 1).await.unwrap().unwrap();
    let second = listener.message(1).await;
    let returned = delivery(&second);
    assert_eq!((returned.topic(), returned.reconsume_times()), ("back", 1));
    client.send_back(&second, -1).await.unwrap().unwrap();
    // A stored message can be read a moment later.
    let start = Instant::now();
    let letters = loop {
        let letters = broker.read_all("%DLQ%back_group").await.unwrap();
        if !letters.is_empty() || start.elapsed() > PATIENCE {
            break letters;
        }
        sleep(Duration::from_millis(10)).await;
    };
    assert_eq!(letters.iter().map(|letter| letter.property("TAGS")).collect::<Vec<_>>(), [Some("T")]);
    client.shutdown().await;
}

#[tokio::test]
async fn after_the_broker_is_gone_a_retry_is_an_error_that_names_the_message() {
    let broker = EmbeddedBroker::builder().topic("gone", 1).start().await.unwrap();
    broker.producer().send(Outgoing::new("gone", "x")).await.unwrap();
    let listener = Recorder::acking();
    let client = start(settings(&broker, "gone_group", "gone"), &listener).await;
    let message = listener.message(0).await;
    broker.shutdown().await;
    let error = client.retry(&message, Retry::default()).await.unwrap_err();
    assert!(error.is_retryable());
    let text = error.to_string();
    for part in ["retry copy", delivery(&message).message_id(), "gone_group"] {
        assert!(text.contains(part), "{text}");
    }
    client.shutdown().await;
}

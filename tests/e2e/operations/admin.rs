//! Apache's own tool shows idem's messages, subscriptions, lag and dead letters.
//!
//! Run alone: `cargo test --workspace --all-features --test e2e -- operations::admin::`

use idem_rocketmq::prelude::*;

use crate::support::kit::SOON;
use crate::support::place::Place;
use crate::support::servers::{self, Server};

/// The output of `mqadmin`, which takes a second or two.
async fn mqadmin(arguments: &[&str]) -> String {
    let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    let asking = tokio::task::spawn_blocking(move || {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        servers::admin(Server::Plain, &arguments)
    });
    asking.await.unwrap()
}

async fn until_said(arguments: &[&str], wanted: &str) -> String {
    let begun = std::time::Instant::now();
    loop {
        let said = mqadmin(arguments).await;
        if said.contains(wanted) {
            return said;
        }
        assert!(begun.elapsed() < 2 * SOON, "{arguments:?} does not say {wanted:?}: {said}");
    }
}

/// A group's progress in a topic, over all queues.
#[derive(Debug, Default, PartialEq, Eq)]
struct Lag {
    stored: u64,
    acked: u64,
    open: u64,
}

async fn lag(group: &str, topic: &str) -> Lag {
    let said = mqadmin(&["consumerProgress", "-g", group]).await;
    let mut lag = Lag::default();
    for row in said.lines() {
        let columns: Vec<_> = row.split_whitespace().collect();
        if columns.first() == Some(&topic) {
            let number = |place: usize| columns[place].parse::<u64>().unwrap();
            lag.stored += number(3);
            lag.acked += number(4);
            lag.open += number(5);
        }
    }
    let total = said.lines().find_map(|row| row.strip_prefix("Consume Diff Total: ")).unwrap();
    // With the group's retry topic.
    assert_eq!(total.trim(), lag.open.to_string(), "{said}");
    lag
}

fn between<'t>(text: &'t str, before: &str, after: &str) -> &'t str {
    let (_, rest) = text.split_once(before).unwrap_or_else(|| panic!("{before:?} is not in {text}"));
    rest.split_once(after).unwrap().0
}

#[tokio::test(flavor = "multi_thread")]
async fn mqadmin_shows_messages_subscription_lag_and_dead_letters() {
    let place = Place::plain(2).await;
    let (group, topic) = (place.group.as_str(), place.topic.as_str());
    let log = crate::support::log::Log::default();
    let route = log.handler(topic, |id, _| match id {
        "bad" => HandlerResult::Err(Reject::new("a negative amount").into()),
        _ => Ok(()),
    });
    let consumer = place.member(&MemoryStore::new(), [route.tag("PAID")]).start().await.unwrap();
    let producer = place.sender().start().await.unwrap();
    let send = async |id: &str| {
        let order = OutgoingMessage::new(topic, id, format!(r#"{{"id":"{id}"}}"#)).tag("PAID");
        producer.send(&order.property("colour", "blue")).await.unwrap();
    };
    send("order-7").await;
    send("bad").await;
    place.until_dead_letters(1).await;
    place.until_acked().await;

    // By the message's key, which is idem's idempotency key; the broker writes its index a moment later.
    let found = until_said(&["queryMsgByKey", "-t", topic, "-k", "order-7"], "@K@order-7@").await;
    assert_eq!(found.matches("@K@order-7@").count(), 1, "{found}");

    let connection = mqadmin(&["consumerConnection", "-g", group]).await;
    let subscribes = |topic: &str, expression: &str| {
        connection.lines().any(|row| row.split_whitespace().eq([topic, expression]))
    };
    assert!(subscribes(topic, "PAID") && subscribes(&format!("%RETRY%{group}"), "*"), "{connection}");
    assert!(connection.contains("MessageModel: CLUSTERING"), "{connection}");

    assert_eq!(lag(group, topic).await, Lag { stored: 2, acked: 2, open: 0 });
    consumer.pause().await;
    for id in ["1", "2", "3"] {
        send(id).await;
    }
    assert_eq!(lag(group, topic).await, Lag { stored: 5, acked: 2, open: 3 });
    consumer.resume().await;
    place.until_acked().await;
    assert_eq!(lag(group, topic).await, Lag { stored: 5, acked: 5, open: 0 });

    let dead = format!("%DLQ%{group}");
    let letter = mqadmin(&["printMsg", "-t", &dead]).await;
    let by_id = mqadmin(&["queryMsgById", "-t", &dead, "-i", between(&letter, " msgId=", ",")]).await;
    for said in [&letter, &by_id] {
        let (_, properties) = said.split_once("roperties").unwrap();
        let properties = between(properties, "{", "}");
        for wanted in [
            "IDEM_KEY=bad",
            "IDEM_REASON=a negative amount",
            "IDEM_ATTEMPTS=1",
            "IDEM_OUTCOME=rejected",
            "KEYS=bad",
            "TAGS=PAID",
            "colour=blue",
            &format!("RETRY_TOPIC={topic}"),
        ] {
            assert!(properties.contains(wanted), "{wanted}: {said}");
        }
    }
    assert!(letter.contains(r#"BODY: {"id":"bad"}"#), "{letter}");
    consumer.shutdown().await;
    producer.shutdown().await;
}

/// `mqadmin queryMsgById -g -d` asks a member to handle a message at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_an_administrator_hands_over_is_refused_with_a_reason_and_not_run() {
    let place = Place::plain(1).await;
    let log = crate::support::log::Log::default();
    let consumer =
        place.member(&MemoryStore::new(), [log.handler(&place.topic, |_, _| Ok(()))]).start().await.unwrap();
    // Not for the group, so that no record keeps it from running.
    let other = place.another_topic(1).await;
    place.send(crate::support::kit::order(&other, 1)).await;
    place.send(place.order(2)).await;
    log.until(1, SOON).await;
    let message = place.bench.read_all(&other).await.unwrap().remove(0);
    let connection = mqadmin(&["consumerConnection", "-g", &place.group]).await;
    let row = connection.lines().skip_while(|row| !row.starts_with("#ClientId")).nth(1).unwrap();
    let client = row.split_whitespace().next().unwrap();
    let (topic, id, group) = (other.as_str(), message.message_id.as_str(), place.group.as_str());
    let said = servers::try_admin(
        Server::Plain,
        &["queryMsgById", "-t", topic, "-i", id, "-g", group, "-d", client],
    );
    let said = said.unwrap_or_else(|said| said);
    assert!(said.contains("idem handles no message out of its turn"), "{said}");
    assert_eq!(log.runs().len(), 1);
    consumer.shutdown().await;
}

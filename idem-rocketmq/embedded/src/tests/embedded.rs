use std::net::TcpStream;
use std::time::Instant;

use super::*;
use crate::{AutoCreate, Outgoing};

fn refuses(address: &str) -> bool {
    TcpStream::connect(address).is_err()
}

#[tokio::test]
async fn it_starts_serves_and_ends() {
    let begin = Instant::now();
    let broker = EmbeddedBroker::builder().topic("mine", 3).start().await.unwrap();
    println!("ready in {:?}", begin.elapsed());
    for body in ["a", "b", "c"] {
        broker.producer().send(Outgoing::new("mine", body).property("p", body)).await.unwrap();
    }
    let mut stored = broker.read_all("mine").await.unwrap();
    stored.sort_by(|one, other| one.body.cmp(&other.body));
    let bodies: Vec<_> = stored.iter().map(|message| message.property("p").unwrap()).collect();
    assert_eq!(bodies, ["a", "b", "c"]);
    assert_eq!(broker.backlog("nobody", "mine").await.unwrap(), 3);
    assert_eq!(broker.read_all("no_such_topic").await.unwrap(), []);
    let address = broker.name_server().to_owned();
    let begin = Instant::now();
    broker.shutdown().await;
    println!("down in {:?}", begin.elapsed());
    assert!(refuses(&address));
}

#[test]
fn it_ends_when_it_is_dropped_outside_every_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let broker = runtime.block_on(EmbeddedBroker::start()).unwrap();
    drop(runtime);
    let address = broker.name_server().to_owned();
    assert!(!refuses(&address));
    let begin = Instant::now();
    drop(broker);
    println!("dropped in {:?}", begin.elapsed());
    assert!(refuses(&address));
}

#[tokio::test]
async fn unknown_topics_can_be_forbidden() {
    let builder = EmbeddedBroker::builder().auto_create_topics(AutoCreate::Forbidden);
    let broker = builder.start().await.unwrap();
    let error = broker.producer().send(Outgoing::new("unknown", "x")).await.unwrap_err();
    assert!(error.to_string().contains("unknown"), "{error}");
}

#[tokio::test]
async fn delay_levels_can_be_shortened() {
    let broker =
        EmbeddedBroker::builder().topic("soon", 1).message_delay_levels("1s 2s").start().await.unwrap();
    let listener = Recorder::acking();
    let client = start(settings(&broker, "soon_group", "soon"), &listener).await;
    let begin = Instant::now();
    broker.producer().send(Outgoing::new("soon", "x").delay_level(2)).await.unwrap();
    listener.message(0).await;
    let took = begin.elapsed();
    assert!(took >= Duration::from_secs(2) && took < Duration::from_secs(6), "{took:?}");
    client.shutdown().await;
}

#[test]
fn debug_of_a_stored_message_shows_no_body_and_no_values() {
    let message = crate::StoredMessage {
        topic: "orders".to_owned(),
        queue_id: 0,
        offset: 1,
        reconsume_times: 0,
        message_id: "id".to_owned(),
        properties: [("KEYS".to_owned(), "secret-key".to_owned())].into(),
        body: bytes::Bytes::from_static(b"secret-body"),
    };
    let text = format!("{message:?}");
    assert!(text.contains("orders") && text.contains("KEYS") && !text.contains("secret"), "{text}");
}

use std::time::{Duration, Instant};

use super::*;
use crate::Outgoing;

#[tokio::test]
async fn a_backlog_with_a_slow_listener_causes_no_retry() {
    let broker = broker().await;
    broker.create_topic("backlog", 4).await.unwrap();
    broker.producer().send_all(vec![Outgoing::new("backlog", "x"); 100]).await.unwrap();
    let listener = Recorder::new(|_| {
        std::thread::sleep(Duration::from_secs(1));
        ConsumeStatus::Success
    });
    let mut settings = settings(&broker, "backlog_group", "backlog");
    settings.batch_size = 1;
    let client = start(settings, &listener).await;
    let begin = Instant::now();
    until("all come", || listener.count() >= 100).await;
    println!("100 messages of 1 s each came within {:?}", begin.elapsed());
    until_acked(&broker, "backlog_group", "backlog").await;
    sleep(Duration::from_secs(5)).await;
    assert_eq!(listener.count(), 100);
    assert!(listener.deliveries().iter().all(|one| one.reconsume_times() == 0));
    assert_eq!(broker.read_all("%RETRY%backlog_group").await.unwrap(), []);
    client.shutdown().await;
}

#[tokio::test]
async fn a_call_of_40_s_is_not_declared_failed() {
    let broker = broker().await;
    broker.create_topic("patient", 1).await.unwrap();
    broker.producer().send(Outgoing::new("patient", "x")).await.unwrap();
    let listener = Recorder::new(|_| {
        std::thread::sleep(Duration::from_secs(40));
        ConsumeStatus::Success
    });
    let client = start(settings(&broker, "patient_group", "patient"), &listener).await;
    until("it comes", || listener.count() == 1).await;
    sleep(Duration::from_secs(38)).await;
    assert_eq!(broker.backlog("patient_group", "patient").await.unwrap(), 1);
    until_acked(&broker, "patient_group", "patient").await;
    assert_eq!(listener.count(), 1);
    assert_eq!(broker.read_all("%RETRY%patient_group").await.unwrap(), []);
    client.shutdown().await;
}

#[tokio::test]
async fn many_retries_at_once_are_all_confirmed_and_come() {
    const MESSAGES: usize = 500;
    let broker = broker().await;
    broker.create_topic("many", 4).await.unwrap();
    broker.producer().send_all(vec![Outgoing::new("many", "x"); MESSAGES]).await.unwrap();
    let listener = Recorder::acking();
    let client = start(settings(&broker, "many_group", "many"), &listener).await;
    until("all come", || listener.count() >= MESSAGES).await;
    let messages = listener.messages.lock().clone();
    let begin = Instant::now();
    let retries = messages.iter().map(|message| client.retry(message, Retry::default()));
    for confirmed in futures_util::future::join_all(retries).await {
        confirmed.unwrap();
    }
    println!("{MESSAGES} retries at once confirmed within {:?}", begin.elapsed());
    until("all come again", || listener.count() >= 2 * MESSAGES).await;
    client.shutdown().await;
    assert_eq!(listener.count(), 2 * MESSAGES);
}

//! Handlers that take many messages at once.

use super::{Java, note, secs};
use crate::batches::{Calls, all_but_17};
use crate::kit::{self, SOON};
use idem_rocketmq::Backoff;
use idem_rocketmq::prelude::*;

#[tokio::test(flavor = "multi_thread")]
async fn batches_have_no_duplicate_and_one_bad_message_comes_again_alone() {
    let java = Java::plain("batches", 2).await;
    let calls = Calls::default();
    let twice = kit::orders(&java.topic, 300).into_iter().flat_map(|order| [order.clone(), order]);
    java.send_all(twice.collect()).await;
    let route = calls.handler(&java.topic, std::time::Duration::ZERO, all_but_17);
    let route = route.max_attempts(2).backoff(Backoff::fixed(secs(1)));
    let consumer = java.member(&MemoryStore::new(), route).start().await.unwrap();

    kit::until_equal("dead letters", 2, SOON, async || java.dead_letters().await.len()).await;
    java.until_acked().await;
    consumer.shutdown().await;
    assert!(calls.all().len() < 150, "{} calls for 300 orders", calls.all().len());
    for id in (0..300).filter(|id| *id != 17) {
        assert_eq!(calls.attempts(&id.to_string()), [1], "{id}");
    }
    assert_eq!(note(&java.dead_letters().await[0], "IDEM_KEY"), "17");
}

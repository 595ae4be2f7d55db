//! Each message is logged with one outcome, and no line shows a key, payload or secret.
//!
//! Run alone: `cargo test --workspace --all-features --test e2e -- operations::outcomes::`

use std::collections::{BTreeMap, BTreeSet};

use idem_rocketmq::cluster::Credentials;
use idem_rocketmq::embedded::Outgoing;
use idem_rocketmq::prelude::*;

use crate::support::kit::{self, MARKER, SOON};
use crate::support::place::Place;

#[derive(Debug, Clone, Deserialize)]
struct Secret {
    id: String,
    #[serde(default)]
    fails: bool,
}

#[tokio::test(flavor = "multi_thread")]
async fn each_message_has_one_outcome_event_and_no_line_shows_key_payload_or_secret() {
    let place = Place::plain(2).await;
    let topic = place.topic.as_str();
    let route = handler(topic, |secret: Secret, attempt: Attempt| async move {
        if secret.fails && attempt.number() == 1 {
            return Err("no");
        }
        Ok(())
    })
    .key(|secret| secret.id.clone())
    .backoff(kit::secondly())
    .named("keep");
    let message = |id: &str, fails| {
        let body = format!(r#"{{"id":"{id}-{MARKER}","card":"{MARKER}","fails":{fails}}}"#);
        Outgoing::new(topic, body).tag("PAID").key(MARKER).property("card", MARKER)
    };
    place.send(message("done", false)).await;
    place.send(message("again", true)).await;
    place.send(Outgoing::new(topic, format!(r#"{{"id":{{"{MARKER}":1}}}}"#))).await;
    place.send(Outgoing::new(topic, format!(r#"{{"id":"","card":"{MARKER}"}}"#))).await;
    let credentials = Credentials::new(MARKER, MARKER).security_token(MARKER);
    let builder = place.member(&MemoryStore::new(), [route]).credentials(credentials.clone());
    let debugs = format!("{builder:?} {credentials:?}");
    let consumer = builder.start().await.unwrap();
    let outcomes = || kit::outcomes(&place.group);
    kit::until_equal("outcomes", 5, SOON, async || outcomes().len()).await;
    place.send(message("done", false)).await;
    kit::until_equal("outcomes", 6, SOON, async || outcomes().len()).await;
    let debugs = format!("{debugs} {consumer:?}");
    consumer.shutdown().await;
    let delivery = Delivery::builder("t").keys(MARKER).property("card", MARKER).body(MARKER).build();
    let debugs = format!("{debugs} {delivery:?} {:?}", IdempotencyKey::new(MARKER));
    assert!(!debugs.contains(MARKER), "{debugs}");
    assert_eq!(kit::leaks(), Vec::<String>::new());

    let mut counts = BTreeMap::<_, usize>::new();
    let mut ids = BTreeSet::new();
    for event in outcomes() {
        *counts.entry(event.field("outcome").unwrap().to_owned()).or_default() += 1;
        assert!(event.is("topic", topic) && event.is("handler", "keep"));
        assert!(ids.insert(event.field("message_id").unwrap().to_owned()), "two events of one delivery");
        let (attempt, hash) = (event.field("attempt").unwrap(), event.field("key_hash"));
        match event.field("outcome").unwrap() {
            "undecodable" | "missing_key" => {
                assert_eq!((attempt, hash, event.field("tag")), ("1", None, None));
            }
            outcome => {
                let ran = if outcome == "duplicate" { 0..=0 } else { 1..=2 };
                assert!(ran.contains(&attempt.parse::<i32>().unwrap()), "{outcome}: {attempt}");
                assert!(hash.is_some_and(|hash| hash.len() == 16) && event.is("tag", "PAID"));
            }
        }
    }
    let wanted = [("completed", 2), ("duplicate", 1), ("failed", 1), ("missing_key", 1), ("undecodable", 1)];
    assert_eq!(counts, wanted.map(|(name, count)| (name.to_owned(), count)).into());
}

//! Chores beside the client's own: routes of new topics and offsets.
//!
//! The client asks for routes every 10 s at best, and has no broker to send its heartbeat to before it knows
//! one. A consumer that is started before its topic would get the first message up to half a minute late. And it
//! stores no offset in its first 10 s; a crash then would deliver all of them twice.

use std::time::Duration;

use cheetah_string::CheetahString;
use idem_core::panics::tireless;
use rocketmq_client_rust::{DefaultMQPushConsumer, MQConsumerInner};
use tokio::task::JoinHandle;
use tokio::time::{interval, sleep};

use crate::settings::ClientSettings;

const SOON: Duration = Duration::from_millis(500);
const LATER: Duration = Duration::from_secs(2);
/// Asks at [`SOON`] before it slows down to [`LATER`].
const EAGER: u32 = 20;

/// Asks for each topic that has no route yet, until it has one. Must be called on the client's runtime.
pub(super) fn find_routes(consumer: &DefaultMQPushConsumer, settings: &ClientSettings) -> JoinHandle<()> {
    let consumer = consumer.default_mq_push_consumer_impl().cloned();
    let topics = topics(settings);
    let look = move || {
        let (consumer, topics) = (consumer.clone(), topics.clone());
        async move {
            let mut rounds = 0_u32;
            while let Some(client) = consumer.as_ref().and_then(|consumer| consumer.get_mq_client_factory()) {
                let known = client.topic_route_snapshot();
                let missing: Vec<_> = topics.iter().filter(|topic| !known.contains_key(*topic)).collect();
                let mut found = false;
                for topic in &missing {
                    found |= client.update_topic_route_info_from_name_server_topic(topic).await;
                }
                if found {
                    client.send_heartbeat_to_all_broker_with_lock().await;
                    client.rebalance_immediately();
                }
                rounds = if found { 0 } else { rounds.saturating_add(1) };
                sleep(if missing.is_empty() || rounds > EAGER { LATER } else { SOON }).await;
            }
        }
    };
    tokio::spawn(tireless("routes", look))
}

/// A crash delivers again about as much as was acked since the last time.
const STORE_OFFSETS: Duration = Duration::from_secs(1);

/// Stores the offsets of acked messages regularly. Must be called on the client's runtime.
pub(super) fn store_offsets(consumer: &DefaultMQPushConsumer) -> JoinHandle<()> {
    let consumer = consumer.default_mq_push_consumer_impl().cloned();
    let store = move || {
        let consumer = consumer.clone();
        async move {
            let mut next = interval(STORE_OFFSETS);
            while let Some(consumer) = &consumer {
                next.tick().await;
                consumer.persist_consumer_offset().await;
            }
        }
    };
    tokio::spawn(tireless("offsets", store))
}

fn topics(settings: &ClientSettings) -> Vec<CheetahString> {
    let subscribed = settings.subscriptions.iter().map(|(topic, _)| settings.in_namespace(topic));
    let retry = format!("%RETRY%{}", settings.full_group());
    subscribed.chain([retry]).map(CheetahString::from).collect()
}

//! Whether a broker takes connections, found out without the client.
//!
//! The client counts the connections to an address that fail, and after five of them makes none for 30 s
//! (`CircuitBreaker` of its transport): a broker that is back after a restart would get no message for as long. So after
//! a failure idem looks by itself first, and the client tries where there is somebody.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use rocketmq_client_rust::DefaultMQProducer;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// For one connection.
const PATIENCE: Duration = Duration::from_secs(1);

/// Whether a producer's brokers can be reached.
#[derive(Default)]
pub(super) struct Probe {
    is_in_doubt: AtomicBool,
}

impl Probe {
    /// A send has ended, well or not.
    pub(super) fn note(&self, is_well: bool) {
        self.is_in_doubt.store(!is_well, Ordering::Relaxed);
    }

    /// Why nobody can be reached for the topic; `None` where somebody can, or nothing has failed since the last time.
    pub(super) fn refusal<'a>(
        &'a self,
        producer: &'a DefaultMQProducer,
        topic: &'a str,
    ) -> BoxFuture<'a, Option<String>> {
        Box::pin(async move {
            if !self.is_in_doubt.load(Ordering::Relaxed) {
                return None;
            }
            let addresses = addresses(producer, topic);
            let reached = join_all(addresses.iter().map(|address| reach(address))).await;
            // A topic without brokers is the client's to explain.
            if reached.iter().any(Result::is_ok) {
                return None;
            }
            reached.into_iter().find_map(Result::err)
        })
    }
}

async fn reach(address: &str) -> Result<(), String> {
    let why = |cause: &dyn std::fmt::Display| format!("cannot reach the broker {address} ({cause})");
    match timeout(PATIENCE, TcpStream::connect(address)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(why(&error)),
        Err(_) => Err(why(&format_args!("no answer within {PATIENCE:?}"))),
    }
}

/// The masters of the topic, as the client knows them.
fn addresses(producer: &DefaultMQProducer, topic: &str) -> Vec<String> {
    let client = producer.default_mq_producer_impl().and_then(|inner| inner.get_mq_client_factory().ok());
    let route = client.and_then(|client| client.topic_route_snapshot().remove(topic));
    let brokers = route.map(|route| route.broker_datas).unwrap_or_default();
    let master = |addresses: &std::collections::HashMap<u64, cheetah_string::CheetahString>| {
        addresses.get(&0).map(ToString::to_string)
    };
    brokers.iter().filter_map(|broker| master(broker.broker_addrs())).collect()
}

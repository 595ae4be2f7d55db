//! Check-backs: the questions of brokers about transactions whose end nobody has told them.

use std::sync::Arc;
use std::time::Duration;

use idem_core::panics::tireless;
use rocketmq_client_rust::{DefaultMQProducer, LocalTransactionState, TransactionListener};
use rocketmq_model::common::message::MessageTrait;
use rocketmq_model::common::message::message_ext::MessageExt;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::ending::{self, HalfMessagePlace};
use super::sending::SendFailure;
use crate::body::LARGEST;
use crate::cluster::in_namespace;
use crate::delivery::Delivery;
use crate::message;
use crate::settings::ProducerSettings;

/// A topic that each broker has by itself.
const EVERYWHERE: &str = "SELF_TEST_TOPIC";

/// How often brokers of topics with a check-back are looked for.
const FIND_BROKERS: Duration = Duration::from_secs(2);
const FIND_BROKERS_AGAIN: Duration = Duration::from_secs(20);

/// Who answers for the transactions of the group.
pub trait CheckBack: Send + Sync + 'static {
    /// May block. A panic is answered as unknown.
    fn check(&self, message: Delivery) -> CheckBackReply;
}

/// How a transaction ended.
pub struct CheckBackReply {
    pub state: LocalTransactionState,
    /// Called when the broker has confirmed a commit.
    pub confirmed: Option<Box<dyn FnOnce() + Send>>,
}

/// Registers for check-backs, and keeps the brokers of their topics told that this member is there: a member that
/// has sent nothing yet is otherwise asked nothing.
pub(super) fn answer(
    producer: &DefaultMQProducer,
    settings: &ProducerSettings,
    checks: Arc<dyn CheckBack>,
    at_once: u32,
) -> Result<JoinHandle<()>, rocketmq_client_rust::ClientError> {
    let inner = producer.default_mq_producer_impl().cloned();
    let inner = inner.ok_or_else(rocketmq_client_rust::ClientError::not_started)?;
    let (group, namespace) = (settings.group.clone(), settings.cluster.namespace.clone());
    let (weak, handle) = (Arc::downgrade(&inner), Handle::current());
    let commit = Box::new(move |address: String, place: HalfMessagePlace| {
        let client = weak.upgrade().and_then(|inner| inner.get_mq_client_factory().ok());
        let api =
            client.and_then(|client| client.get_mq_client_api_impl().ok()).ok_or(SendFailure::Stopped)?;
        let address = address.into();
        let asking = api.invoke(&address, place.commit(), ending::PATIENCE_MILLIS);
        ending::confirmed(handle.block_on(asking))
    });
    inner.set_transaction_listener(Arc::new(CheckListener { group, namespace, checks, commit }));
    inner.init_transaction_env(at_once, at_once, 2_000)?;
    let mut topics: Vec<cheetah_string::CheetahString> =
        settings.checked_topics.iter().map(|topic| settings.cluster.full(topic).into()).collect();
    topics.extend(settings.all_may_check.then_some(EVERYWHERE.into()));
    let find = move || {
        let (inner, topics) = (inner.clone(), topics.clone());
        async move {
            while let Ok(client) = inner.get_mq_client_factory() {
                for topic in &topics {
                    Box::pin(client.update_topic_route_info_from_name_server_topic(topic)).await;
                }
                Box::pin(client.send_heartbeat_to_all_broker_with_lock()).await;
                let known = client.topic_route_snapshot();
                let all = topics.iter().all(|topic| known.contains_key(topic));
                drop(client);
                sleep(if all { FIND_BROKERS_AGAIN } else { FIND_BROKERS }).await;
            }
        }
    };
    Ok(tokio::spawn(tireless("check-backs", find)))
}

/// The client's listener, which blocks one of its threads for each check-back.
struct CheckListener {
    group: String,
    namespace: Option<String>,
    checks: Arc<dyn CheckBack>,
    /// Asks a broker to commit. Blocks.
    commit: Box<dyn Fn(String, HalfMessagePlace) -> Result<(), SendFailure> + Send + Sync>,
}

impl TransactionListener for CheckListener {
    /// idem runs the local work itself, where the user's future is. The client's default would be to commit.
    fn execute_local_transaction(
        &self,
        _: &dyn MessageTrait,
        _: Option<&(dyn std::any::Any + Send + Sync)>,
    ) -> LocalTransactionState {
        LocalTransactionState::Unknown
    }

    fn check_local_transaction(&self, message: &MessageExt) -> LocalTransactionState {
        let mut delivery = message::of_message(message, &self.group.as_str().into(), LARGEST);
        let prefix = in_namespace(self.namespace.as_deref(), "");
        if let Some(topic) = delivery.topic.strip_prefix(&prefix) {
            delivery.topic = topic.into();
        }
        let unique_key = delivery.unique_key().unwrap_or_else(|| delivery.message_id()).to_owned();
        let CheckBackReply { state, confirmed } = self.checks.check(delivery);
        let (Some(confirmed), LocalTransactionState::CommitMessage) = (confirmed, state) else {
            return state;
        };
        let group = in_namespace(self.namespace.as_deref(), &self.group);
        let place = HalfMessagePlace::of_asked(message.topic(), &group, message, &unique_key);
        if let Err(failure) = (self.commit)(message.store_host().to_string(), place) {
            tracing::debug!(
                ?failure,
                "a broker did not confirm the commit that it asked for; it is answered the usual way"
            );
            return state;
        }
        confirmed();
        // It knows, and ignores this.
        LocalTransactionState::Unknown
    }
}

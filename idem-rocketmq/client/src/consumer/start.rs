//! From settings to a running consumer and producer.

use std::sync::Arc;

use rocketmq_client_rust::{
    ClientConfig, ClientError as Cause, ClientRuntime, ClientRuntimeConfig, DefaultMQProducer,
    DefaultMQPushConsumer, MQPushConsumer, MessageSelector,
};
use rocketmq_model::common::consumer::consume_from_where::ConsumeFromWhere;
use rocketmq_observability::TelemetryHandle;
use rocketmq_protocol::protocol::heartbeat::message_model::MessageModel;
use rocketmq_runtime::RuntimeOwner;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

use super::chores;
use super::gate::ShutdownGate;
use super::listener::{Listener, ListenerAdapter};
use crate::config::plain_config;
use crate::embedded;
use crate::error::{ClientError, text};
use crate::hook::RequestHook;
use crate::preflight::{self, OrderConflict};
use crate::pulled::PullSorter;
use crate::settings::{ClientSettings, Expression, MessageTrace, Mode, QUEUE_MIB, SPAN};
use crate::tls::{LoadedTls, Tls};
use crate::versions::Versions;

/// The client's own time-out, in minutes: a year. Its sweeper would send back messages that still run, and drop
/// them when that fails; it also sleeps this long, and no product with it overflows.
const CONSUME_TIMEOUT: u64 = 365 * 24 * 60;

/// The client's own bound of retries, out of the way: idem counts attempts.
const MAX_RECONSUME_TIMES: i32 = i32::MAX;

/// Time for the last answers before a shutdown takes effect.
const LAST_ANSWERS_MILLIS: u64 = 300;

/// A producer with a larger limit than the default may have sent what is to be sent again.
const LARGEST_BODY: u32 = 128 << 20;

/// A copy of some megabytes over a slow line.
const SEND_MILLIS: u32 = 10_000;

/// The parts of a running consumer that have to be ended.
pub(super) struct StartedConsumer {
    pub(super) runtime: Arc<ClientRuntime>,
    pub(super) consumer: Arc<Mutex<DefaultMQPushConsumer>>,
    pub(super) producer: DefaultMQProducer,
    pub(super) versions: Arc<Versions>,
    pub(super) chores: Vec<JoinHandle<()>>,
    /// Holds the files that the client reads.
    pub(super) tls: Option<Arc<LoadedTls>>,
    pub(super) conflict: OrderConflict,
}

pub(super) async fn start(
    owner: &RuntimeOwner,
    settings: &ClientSettings,
    listener: Arc<dyn Listener>,
    gate: Arc<ShutdownGate>,
) -> Result<StartedConsumer, ClientError> {
    let tls = settings.cluster.tls.as_ref().map(Tls::load).transpose()?.map(Arc::new);
    let config = client_config(settings, tls.as_deref());
    let brokers = preflight::ask(settings, &config, tls.as_deref()).await?;
    let failed = |error: Cause| ClientError::Start { group: settings.group.clone(), cause: text(&error) };
    let context = owner.root_context().component("client");
    let runtime = ClientRuntime::try_new(context, ClientRuntimeConfig::default(), TelemetryHandle::noop());
    let runtime = runtime.map_err(failed)?;
    let versions = Arc::<Versions>::default();
    let mut producer = producer(&runtime, settings, config.clone(), &versions);
    let mut consumer = consumer(&runtime, settings, config.clone(), &versions);
    for (topic, expression) in &settings.subscriptions {
        let selector = match expression {
            Expression::Tags(tags) => MessageSelector::by_tag(tags.as_str()),
            Expression::Sql(condition) => MessageSelector::by_sql(condition.as_str()),
        };
        consumer.subscribe_with_selector(topic.as_str(), Some(selector)).await.map_err(failed)?;
    }
    let adapter = ListenerAdapter { listener, gate };
    match settings.mode {
        Mode::Concurrent | Mode::Broadcast => consumer.register_message_listener_concurrently(adapter),
        Mode::Orderly => consumer.register_message_listener_orderly(adapter),
    }
    embedded::adopt(&settings.cluster.name_servers, &settings.full_group()).await;
    producer.start().await.map_err(failed)?;
    consumer.start().await.map_err(failed)?;
    let mut chores = vec![chores::find_routes(&consumer, settings), chores::store_offsets(&consumer)];
    let conflict = OrderConflict::default();
    chores.extend(preflight::watch(settings, tls.clone(), brokers, Arc::clone(&conflict)));
    Ok(StartedConsumer {
        runtime,
        consumer: Arc::new(Mutex::new(consumer)),
        producer,
        versions,
        chores,
        tls,
        conflict,
    })
}

fn client_config(settings: &ClientSettings, tls: Option<&LoadedTls>) -> ClientConfig {
    let mut config = plain_config(&settings.cluster, tls);
    config.set_namespace(settings.cluster.namespace.clone().unwrap_or_default().into());
    // Each body is decompressed by itself, so that one that cannot be takes no other message with it.
    config.set_decode_decompress_body(false);
    if settings.mode == Mode::Broadcast {
        config.set_client_ip(preflight::HOST.into());
    }
    match &settings.trace {
        MessageTrace::Off => {}
        MessageTrace::On => config.enable_trace = true,
        MessageTrace::Topic(topic) => {
            config.enable_trace = true;
            config.trace_topic = Some(topic.as_str().into());
        }
    }
    config
}

fn consumer(
    runtime: &Arc<ClientRuntime>,
    settings: &ClientSettings,
    config: ClientConfig,
    versions: &Arc<Versions>,
) -> DefaultMQPushConsumer {
    DefaultMQPushConsumer::builder(Arc::clone(runtime))
        .client_config(config)
        .consumer_group(settings.group.clone())
        .message_model(match settings.mode {
            Mode::Concurrent | Mode::Orderly => MessageModel::Clustering,
            Mode::Broadcast => MessageModel::Broadcasting,
        })
        // A queue that it begins without an offset is new to a known group; see `preflight/begin.rs`.
        .consume_from_where(ConsumeFromWhere::ConsumeFromFirstOffset)
        .consume_thread_min(settings.first_threads.unwrap_or(settings.listener_threads))
        // The client takes an update of the first one only below this.
        .consume_thread_max(settings.listener_threads + 1)
        .consume_message_batch_max_size(settings.batch_size)
        .pull_batch_size(settings.batch_size.max(32))
        .consume_concurrently_max_span(SPAN)
        .pull_threshold_size_for_queue(QUEUE_MIB)
        .max_reconsume_times(MAX_RECONSUME_TIMES)
        .consume_timeout(CONSUME_TIMEOUT)
        .await_termination_millis_when_shutdown(LAST_ANSWERS_MILLIS)
        .rpc_hook(Some(Arc::new(hook(settings, versions))))
        .build()
}

fn hook(settings: &ClientSettings, versions: &Arc<Versions>) -> RequestHook {
    let tag = |expression: &Expression| match expression {
        Expression::Tags(tags) if tags != "*" => tags.split("||").next().map(str::to_owned),
        Expression::Tags(_) | Expression::Sql(_) => None,
    };
    let subscriptions = settings.subscriptions.iter();
    let tags = subscriptions.filter_map(|(topic, wanted)| Some((settings.in_namespace(topic), tag(wanted)?)));
    let pulled = PullSorter::new(settings.group.clone(), tags.collect(), settings.largest_body);
    RequestHook::new(settings.cluster.credentials.as_ref(), versions).sorting(pulled)
}

/// Its names are complete, so it knows of no namespace. It does not send again by itself: the client takes the count of
/// deliveries and its bound out of the message that it sends, so that its second attempt would bring a retry as the first
/// one, and a dead letter back to the handler.
fn producer(
    runtime: &Arc<ClientRuntime>,
    settings: &ClientSettings,
    mut config: ClientConfig,
    versions: &Arc<Versions>,
) -> DefaultMQProducer {
    config.set_namespace("".into());
    config.enable_trace = false;
    config.set_instance_name(format!("{}#copies", config.get_instance_name()).into());
    DefaultMQProducer::builder(Arc::clone(runtime))
        .client_config(config)
        .producer_group(format!("idem_{}", &settings.group[..settings.group.len().min(100)]))
        .retry_times_when_send_failed(0)
        // A copy's body goes as it came, compressed or not.
        .compress_msg_body_over_howmuch(u32::MAX)
        .max_message_size(LARGEST_BODY)
        .send_msg_timeout(SEND_MILLIS)
        .rpc_hook(Arc::new(RequestHook::new(settings.cluster.credentials.as_ref(), versions).stamping()))
        .build()
}

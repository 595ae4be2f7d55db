//! From settings to a running consumer and producer.

use std::error::Error;
use std::fmt::Write as _;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use rocketmq_client_rust::{
    ClientConfig, ClientError as Cause, ClientRuntime, ClientRuntimeConfig, DefaultMQProducer,
    DefaultMQPushConsumer, MQPushConsumer, MessageSelector,
};
use rocketmq_model::common::consumer::consume_from_where::ConsumeFromWhere;
use rocketmq_observability::TelemetryHandle;
use rocketmq_protocol::code::response_code::ResponseCode;
use rocketmq_protocol::protocol::heartbeat::message_model::MessageModel;
use rocketmq_runtime::RuntimeOwner;
use tokio::sync::Mutex;

use super::cluster::Cluster;
use super::gate::Gate;
use super::hook::Hook;
use super::listener::Adapter;
use super::offsets::{self, Offsets};
use super::order::{self, Beside};
use super::pulled::Pulled;
use super::session::Running;
use super::settings::{QUEUE_MIB, SPAN};
use super::tls::LoadedTls;
use super::versions::Versions;
use super::{
    ClientError, ClientSettings, Credentials, Expression, Listener, MessageTrace, Mode, Tls, access, begin,
    chores, reach,
};

/// The client's own time-out, in minutes: a year. Its sweeper would send back messages that still run, and drop
/// them when that fails; it also sleeps this long, and no product with it overflows.
const CONSUME_TIMEOUT: u64 = 365 * 24 * 60;

/// The client's own bound of retries, out of the way: idem counts attempts.
const MAX_RECONSUME_TIMES: i32 = i32::MAX;

/// Time for the last answers before a shutdown takes effect.
const LAST_ANSWERS_MILLIS: u64 = 300;

/// The least that the client accepts; see [`chores`] for topics that do not exist yet.
const POLL_ROUTES_MILLIS: u32 = 10_000;

/// A producer with a larger limit than the default may have sent what is to be sent again.
const LARGEST_BODY: u32 = 128 << 20;

/// A copy of some megabytes over a slow line.
const SEND_MILLIS: u32 = 10_000;

pub(super) async fn start(
    owner: &RuntimeOwner,
    settings: &ClientSettings,
    listener: Arc<dyn Listener>,
    gate: Arc<Gate>,
) -> Result<Running, ClientError> {
    let tls = settings.cluster.tls.as_ref().map(Tls::load).transpose()?.map(Arc::new);
    let config = client_config(settings, tls.as_deref());
    let brokers = ask_the_servers(settings, &config, tls.as_deref()).await?;
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
    let adapter = Adapter { listener, gate };
    match settings.mode {
        Mode::Concurrent | Mode::Broadcast => consumer.register_message_listener_concurrently(adapter),
        Mode::Orderly => consumer.register_message_listener_orderly(adapter),
    }
    super::embedded::adopt(&settings.cluster.name_servers, &settings.full_group()).await;
    producer.start().await.map_err(failed)?;
    consumer.start().await.map_err(failed)?;
    let mut chores = vec![chores::find_routes(&consumer, settings), chores::store_offsets(&consumer)];
    let beside = Beside::default();
    chores.extend(order::watch(settings, tls.clone(), brokers, Arc::clone(&beside)));
    Ok(Running { runtime, consumer: Arc::new(Mutex::new(consumer)), producer, versions, chores, tls, beside })
}

/// What the client would start over in silence, and where it is to begin. Gives the addresses of the brokers.
async fn ask_the_servers(
    settings: &ClientSettings,
    config: &ClientConfig,
    tls: Option<&LoadedTls>,
) -> Result<Vec<String>, ClientError> {
    let topics: Vec<_> =
        settings.subscriptions.iter().map(|(topic, _)| settings.in_namespace(topic)).collect();
    let brokers = reach::check(&settings.cluster.name_servers, tls, &topics).await?;
    let signer = settings.cluster.credentials.as_ref().map(Credentials::hook);
    let mut asked = access::check(settings, tls, signer.as_ref(), &brokers).await?;
    if settings.mode == Mode::Broadcast {
        let mut own = Offsets::read(settings, config)?;
        begin::prepare(settings, &mut asked, Some(&mut own)).await?;
        own.write(settings)?;
    } else {
        begin::prepare(settings, &mut asked, None).await?;
    }
    Ok(brokers.into_keys().collect())
}

fn client_config(settings: &ClientSettings, tls: Option<&LoadedTls>) -> ClientConfig {
    let mut config = plain_config(&settings.cluster, tls);
    config.set_namespace(settings.cluster.namespace.clone().unwrap_or_default().into());
    // Each body is decompressed by itself, so that one that cannot be takes no other message with it.
    config.set_decode_decompress_body(false);
    if settings.mode == Mode::Broadcast {
        config.set_client_ip(offsets::HOST.into());
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

/// Of a client whose names are complete, so that it knows of no namespace.
pub(super) fn plain_config(cluster: &Cluster, tls: Option<&LoadedTls>) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set_namesrv_addr(cluster.name_servers.join(";").into());
    config.set_namespace("".into());
    config.set_instance_name(cluster.instance_name.clone().unwrap_or_else(unique_name).into());
    config.set_poll_name_server_interval(POLL_ROUTES_MILLIS);
    if let Some(tls) = tls {
        config.set_use_tls(true);
        config.set_tls_config(tls.client.clone());
    }
    config
}

/// Two members with one name on one host would be one member to the brokers, and each would get half the messages.
fn unique_name() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    format!("{}#{}#{since}", process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
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
        // What it begins without an offset is new to a known group; see `begin`.
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

fn hook(settings: &ClientSettings, versions: &Arc<Versions>) -> Hook {
    let tag = |expression: &Expression| match expression {
        Expression::Tags(tags) if tags != "*" => tags.split("||").next().map(str::to_owned),
        Expression::Tags(_) | Expression::Sql(_) => None,
    };
    let subscriptions = settings.subscriptions.iter();
    let tags = subscriptions.filter_map(|(topic, wanted)| Some((settings.in_namespace(topic), tag(wanted)?)));
    let pulled = Pulled::new(settings.group.clone(), tags.collect(), settings.largest_body);
    Hook::new(settings.cluster.credentials.as_ref(), versions).sorting(pulled)
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
        .rpc_hook(Arc::new(Hook::new(settings.cluster.credentials.as_ref(), versions).stamping()))
        .build()
}

/// The client's error with its sources, because its own text names no cause; and the broker's code with its name, because the
/// client keeps no more of an answer.
pub fn text(error: &Cause) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let _ = write!(text, ": {cause}");
        source = cause.source();
    }
    if let Some(code) = error.broker_response_code() {
        let _ = match ResponseCode::from(code) {
            known if known.to_i32() == code => write!(text, " (response code {code}, {known:?})"),
            _ => write!(text, " (response code {code})"),
        };
    }
    text
}

//! A producer on a thread and a runtime of its own.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use idem_core::clock::Later as _;
use idem_core::panics::loud;
use rocketmq_client_rust::{
    ClientRuntime, ClientRuntimeConfig, DefaultMQProducer, LocalTransactionState, SendResult,
};
use rocketmq_model::common::message::message_single::Message;
use rocketmq_model::common::message::{MessageConst as Name, MessageTrait};
use rocketmq_observability::TelemetryHandle;
use rocketmq_runtime::RuntimeOwner;
use rocketmq_runtime::shutdown_deadline::ShutdownDeadline;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::attempts::SendAttempts;
use super::checks::{self, CheckBack};
use super::ending::{self, HalfMessagePlace};
use super::outgoing::{Delay, WireMessage};
use super::sending::{self, Placement, SendFailure, SendLoad};
use crate::cluster::in_namespace;
use crate::config::plain_config;
use crate::delay::Delays;
use crate::error::{ClientError, text};
use crate::hook::RequestHook;
use crate::opaque::Opaque;
use crate::preflight;
use crate::probe::Probe;
use crate::settings::ProducerSettings;
use crate::thread::{self, ClientThread};
use crate::tls::{LoadedTls, Tls};
use crate::versions::Versions;

/// Sends at one time. The client's connection takes a few hundred requests and refuses more.
const SENDS: usize = 128;

/// Check-backs at one time.
const CHECKS: u32 = 16;

const LEAVE: Duration = Duration::from_secs(5);
const END_TASKS: Duration = Duration::from_secs(2);

/// A running member of a producer group.
///
/// Dropping it stops it as [`ProducerClient::shutdown`] does, without waiting for the end.
pub struct ProducerClient {
    handle: Opaque<ProducerHandle>,
    life: ClientThread,
}

/// The side that requests are made to.
struct ProducerHandle {
    runtime: Handle,
    producer: DefaultMQProducer,
    /// Group with namespace.
    group: String,
    namespace: Option<String>,
    delays: Delays,
    probe: Probe,
    open: AtomicBool,
    sends: Semaphore,
}

/// A message that its broker keeps from consumers until it knows how the local transaction ended.
pub struct HalfMessage(Opaque<PreparedMessage>);

struct PreparedMessage {
    message: Message,
    result: SendResult,
}

impl ProducerClient {
    /// Starts a producer; `checks` answers for transactions.
    pub fn start(
        settings: ProducerSettings,
        checks: Option<Arc<dyn CheckBack>>,
    ) -> BoxFuture<'static, Result<ProducerClient, ClientError>> {
        Box::pin(async move {
            let (ready, started) = oneshot::channel();
            let life = thread::spawn(CHECKS * 2, move |owner, stopped| match owner {
                Ok(owner) => live_on(owner, &settings, checks, ready, stopped),
                Err(error) => drop(ready.send(Err(error))),
            })?;
            let handle = started.await.map_err(|_| ClientError::Stopped)??;
            Ok(ProducerClient { handle: Opaque::shared(handle), life })
        })
    }

    /// Sends one message and waits for a broker's word. Once polled, it goes on when it is dropped.
    pub fn send(
        &self,
        wire: WireMessage,
        patience: Duration,
    ) -> BoxFuture<'static, Result<Placement, SendFailure>> {
        let (order, delay) = (wire.order, wire.delay);
        let load = SendLoad::One(self.handle.get().message(wire), delay);
        let sending = self.handle.share().send(load, order, patience);
        Box::pin(async move { sending.await.map(|result| sending::placed(&result)) })
    }

    /// Sends messages of one topic in one batch, all to one queue if they have an order.
    pub fn send_batch(
        &self,
        wires: Vec<WireMessage>,
        patience: Duration,
    ) -> BoxFuture<'static, Result<Placement, SendFailure>> {
        let order = wires.first().and_then(|wire| wire.order);
        let load = SendLoad::Batch(wires.into_iter().map(|wire| self.handle.get().message(wire)).collect());
        let sending = self.handle.share().send(load, order, patience);
        Box::pin(async move { sending.await.map(|result| sending::placed(&result)) })
    }

    /// Hands a message to the connection and waits for nothing.
    pub fn send_one_way(&self, wire: WireMessage) -> BoxFuture<'static, Result<(), SendFailure>> {
        let order = wire.order;
        let message = self.handle.get().message(wire);
        let handle = self.handle.share();
        self.handle.share().run(async move {
            let sent = match order {
                None => Box::pin(handle.producer.send_oneway(message)).await,
                Some(hash) => {
                    Box::pin(handle.producer.send_oneway_with_selector(message, sending::select, hash)).await
                }
            };
            sent.map_err(|error| sending::failure(&error))
        })
    }

    /// The number of queues that the topic is written to; an error says that no broker has it yet.
    pub fn queues(&self, topic: &str) -> BoxFuture<'static, Option<usize>> {
        let topic = in_namespace(self.handle.get().namespace.as_deref(), topic).into();
        let handle = self.handle.share();
        let asking = self.handle.share().run(async move {
            let inner = handle.producer.default_mq_producer_impl().ok_or(SendFailure::Stopped)?;
            let queues = Box::pin(inner.fetch_publish_message_queues(&topic)).await;
            queues.map(|queues| queues.len()).map_err(|error| sending::failure(&error))
        });
        Box::pin(async move { asking.await.ok().filter(|queues| *queues > 0) })
    }

    /// Stores a message that consumers do not get before [`ProducerClient::end`].
    pub fn prepare(
        &self,
        wire: WireMessage,
        patience: Duration,
    ) -> BoxFuture<'static, Result<HalfMessage, SendFailure>> {
        let order = wire.order;
        let mut message = self.handle.get().message(wire);
        message.put_property(Name::PROPERTY_TRANSACTION_PREPARED.into(), "true".into());
        message.put_property(Name::PROPERTY_PRODUCER_GROUP.into(), self.handle.get().group.as_str().into());
        let sending = self.handle.share().send(SendLoad::One(message.clone(), None), order, patience);
        let handle = self.handle.share();
        Box::pin(async move {
            let result = sending.await?;
            if sending::is_safe(&result) {
                return Ok(HalfMessage(Opaque::new(PreparedMessage { message, result })));
            }
            let cause = format!("the half message is not safe at its broker ({})", result.send_status);
            handle
                .end(Opaque::new(PreparedMessage { message, result }), LocalTransactionState::RollbackMessage)
                .await?;
            Err(SendFailure::NotSent { cause })
        })
    }

    /// Tells the broker to commit, and waits until it has.
    pub fn commit(&self, half: HalfMessage) -> BoxFuture<'static, Result<(), SendFailure>> {
        self.handle.share().commit(half.0)
    }

    /// Tells the broker how the local transaction ended. The broker does not answer: when this is lost, it asks.
    pub fn end(
        &self,
        half: HalfMessage,
        state: LocalTransactionState,
    ) -> BoxFuture<'static, Result<(), SendFailure>> {
        self.handle.share().end(half.0, state)
    }

    /// Ends every task of the client; calling it again waits for the same end.
    pub fn shutdown(&self) -> BoxFuture<'static, ()> {
        self.begin_shutdown();
        self.life.ended()
    }

    fn begin_shutdown(&self) {
        self.handle.get().open.store(false, Ordering::Release);
        self.life.stop();
    }
}

impl Drop for ProducerClient {
    fn drop(&mut self) {
        self.begin_shutdown();
    }
}

impl ProducerHandle {
    fn message(&self, wire: WireMessage) -> Message {
        let topic = in_namespace(self.namespace.as_deref(), &wire.topic);
        let by = self.delays.choose(wire.delay.map(Delay::left).unwrap_or_default());
        wire.message(topic, by, &self.delays.levels)
    }

    fn send(
        self: &Arc<Self>,
        load: SendLoad,
        order: Option<i32>,
        patience: Duration,
    ) -> BoxFuture<'static, Result<SendResult, SendFailure>> {
        let handle = Arc::clone(self);
        self.run(async move {
            let deadline = Instant::now().later(patience);
            let waiting = tokio::time::timeout_at(deadline.into(), handle.sends.acquire());
            let _permit = match waiting.await {
                Ok(Ok(permit)) => permit,
                Ok(Err(_)) => return Err(SendFailure::Stopped),
                Err(_) => {
                    let cause = format!("{SENDS} other sends were under way all the time");
                    return Err(SendFailure::NotSent { cause });
                }
            };
            let ProducerHandle { producer, delays, probe, .. } = &*handle;
            SendAttempts::new(producer, delays, probe, load, order, deadline).run().await
        })
    }

    fn end(
        self: &Arc<Self>,
        half: Opaque<PreparedMessage>,
        state: LocalTransactionState,
    ) -> BoxFuture<'static, Result<(), SendFailure>> {
        let handle = Arc::clone(self);
        self.run(async move {
            // The client's future holds a `&dyn MessageTrait` and so cannot move between threads.
            let runtime = Handle::current();
            let ending = tokio::task::spawn_blocking(move || {
                let Some(inner) = handle.producer.default_mq_producer_impl() else {
                    return Err(SendFailure::Stopped);
                };
                let ended = runtime.block_on(inner.end_transaction(
                    &half.get().message,
                    &half.get().result,
                    state,
                    None,
                ));
                ended.map_err(|error| sending::failure(&error))
            });
            ending.await.unwrap_or(Err(SendFailure::Stopped))
        })
    }

    fn commit(
        self: &Arc<Self>,
        half: Opaque<PreparedMessage>,
    ) -> BoxFuture<'static, Result<(), SendFailure>> {
        let handle = Arc::clone(self);
        self.run(async move {
            let not_known = |cause: &str| SendFailure::NotSent { cause: cause.to_owned() };
            let place =
                HalfMessagePlace::of_sent(half.get().message.topic(), &handle.group, &half.get().result)
                    .ok_or_else(|| not_known("the broker did not say where the half message is"))?;
            let inner = handle.producer.default_mq_producer_impl().ok_or(SendFailure::Stopped)?;
            let client = inner.get_mq_client_factory().map_err(|error| sending::failure(&error))?;
            let broker = place.broker().unwrap_or_default().into();
            let address = client.find_broker_address_in_publish(&broker);
            let address = address.ok_or_else(|| not_known("the broker of the half message is away"))?;
            let api = client.get_mq_client_api_impl().map_err(|error| sending::failure(&error))?;
            let asking = api.invoke(&address, place.commit(), ending::PATIENCE_MILLIS);
            ending::confirmed(Box::pin(asking).await)
        })
    }

    /// Runs on the client's runtime, so that it works on any executor of the caller's and goes on without it.
    fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, SendFailure>> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, SendFailure>> {
        let open = self.open.load(Ordering::Acquire);
        let runtime = self.runtime.clone();
        Box::pin(async move {
            if !open {
                return Err(SendFailure::Stopped);
            }
            // The runtime goes away only with the producer; what was under way may have arrived.
            let cause = || "the producer was shut down or failed meanwhile".to_owned();
            let done = runtime.spawn(loud("client", Box::pin(work), || {})).await;
            done.ok().flatten().unwrap_or_else(|| Err(SendFailure::MaybeSent { cause: cause() }))
        })
    }
}

fn live_on(
    owner: RuntimeOwner,
    settings: &ProducerSettings,
    checks: Option<Arc<dyn CheckBack>>,
    ready: oneshot::Sender<Result<Arc<ProducerHandle>, ClientError>>,
    stopped: oneshot::Receiver<()>,
) {
    owner.block_on(async {
        match start(&owner, settings, checks).await {
            Ok(running) => {
                let handle = Arc::new(ProducerHandle {
                    runtime: Handle::current(),
                    producer: running.producer.clone(),
                    group: settings.cluster.full(&settings.group),
                    namespace: settings.cluster.namespace.clone(),
                    delays: Delays::new(
                        &settings.group,
                        settings.cluster.asks_delays_by(),
                        settings.cluster.levels(),
                        running.versions.clone(),
                    ),
                    probe: Probe::default(),
                    open: AtomicBool::new(true),
                    sends: Semaphore::new(SENDS),
                });
                if ready.send(Ok(handle)).is_ok() {
                    let _ = stopped.await;
                }
                running.stop().await;
            }
            Err(error) => drop(ready.send(Err(error))),
        }
        owner.shutdown_tasks_until(ShutdownDeadline::after(END_TASKS)).await;
    });
    owner.shutdown_background();
}

/// The parts of a running producer that have to be ended.
struct StartedProducer {
    runtime: Arc<ClientRuntime>,
    producer: DefaultMQProducer,
    versions: Arc<Versions>,
    chore: Option<JoinHandle<()>>,
    /// Holds the files that the client reads.
    tls: Option<LoadedTls>,
}

impl StartedProducer {
    async fn stop(mut self) {
        if let Some(chore) = self.chore {
            chore.abort();
        }
        if timeout(LEAVE, Box::pin(self.producer.shutdown())).await.is_err() {
            tracing::warn!("the RocketMQ producer did not stop within {LEAVE:?}; its tasks are cancelled");
        }
        self.runtime.shutdown_until(ShutdownDeadline::after(END_TASKS)).await;
        drop(self.tls.and_then(|tls| tls.files));
    }
}

async fn start(
    owner: &RuntimeOwner,
    settings: &ProducerSettings,
    checks: Option<Arc<dyn CheckBack>>,
) -> Result<StartedProducer, ClientError> {
    let tls = settings.cluster.tls.as_ref().map(Tls::load).transpose()?;
    preflight::reach(&settings.cluster.name_servers, tls.as_ref(), &[]).await?;
    let failed = |error: rocketmq_client_rust::ClientError| ClientError::StartProducer {
        group: settings.group.clone(),
        cause: text(&error),
    };
    let context = owner.root_context().component("client");
    let runtime = ClientRuntime::try_new(context, ClientRuntimeConfig::default(), TelemetryHandle::noop());
    let runtime = runtime.map_err(failed)?;
    let config = plain_config(&settings.cluster, tls.as_ref());
    let versions = Arc::<Versions>::default();
    let builder = DefaultMQProducer::builder(Arc::clone(&runtime))
        .client_config(config)
        .producer_group(settings.cluster.full(&settings.group))
        .retry_times_when_send_failed(0)
        .max_message_size(u32::try_from(settings.max_message_size).unwrap_or(u32::MAX))
        .rpc_hook(Arc::new(RequestHook::new(settings.cluster.credentials.as_ref(), &versions)));
    let mut producer = builder.build();
    Box::pin(producer.start()).await.map_err(failed)?;
    let chore = match checks {
        Some(checks) => Some(checks::answer(&producer, settings, checks, CHECKS).map_err(failed)?),
        None => None,
    };
    Ok(StartedProducer { runtime, producer, versions, chore, tls })
}

//! The thread that a client lives on, from start to end.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use cheetah_string::CheetahString;
use futures_util::future::BoxFuture;
use idem_core::panics;
use rocketmq_client_rust::{DefaultMQProducer, DefaultMQPushConsumer, MQConsumerInner};
use rocketmq_model::common::message::message_ext::MessageExt;
use rocketmq_model::common::message::message_queue::MessageQueue;
use rocketmq_model::common::message::message_single::Message;
use rocketmq_runtime::RuntimeOwner;
use rocketmq_runtime::shutdown_deadline::ShutdownDeadline;
use tokio::runtime::Handle;
use tokio::sync::{Mutex, Semaphore, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::copy::{CopyExtent, CopyPurpose, CopyRequest};
use super::gate::ShutdownGate;
use super::listener::Listener;
use super::start::{self, StartedConsumer};
use crate::delay::{DelayBy, Timer};
use crate::error::{ClientError, text};
use crate::preflight::OrderConflict;
use crate::probe::Probe;
use crate::received::Queue;
use crate::settings::ClientSettings;
use crate::thread::{self, ClientThread};

/// Leaving takes a few requests to brokers, which may be gone.
const LEAVE: Duration = Duration::from_secs(10);

/// Copies that are sent at one time. The client's connection takes a few hundred requests and refuses more, which
/// would then wait for a pause and be refused again.
const COPIES: usize = 64;

const END_TASKS: Duration = Duration::from_secs(2);

/// The side of a running client that requests are made to.
pub(super) struct ConsumerHandle {
    runtime: Handle,
    /// Owned by [`StartedConsumer`], so that the listener is let go of at the end although this side lives on.
    consumer: Weak<Mutex<DefaultMQPushConsumer>>,
    producer: Arc<DefaultMQProducer>,
    settings: Arc<ClientSettings>,
    gate: Arc<ShutdownGate>,
    timer: Timer,
    copies: Semaphore,
    probe: Arc<Probe>,
    conflict: OrderConflict,
}

/// The queues of a member, each with the time at which the client took it up, by this machine's clock in milliseconds.
pub type Queues = HashMap<Queue, u64>;

/// Why a copy was not sent.
struct CopyRefusal {
    /// The broker's, where it has answered.
    code: Option<i32>,
    cause: String,
}

/// `MESSAGE_ILLEGAL`: too large, or with too many properties.
const TOO_LARGE: i32 = 13;

/// `NO_PERMISSION` and `SUBSCRIPTION_GROUP_NOT_EXIST`: until an operator changes something.
const FORBIDDEN: [i32; 2] = [16, 26];

impl CopyRefusal {
    fn explained(
        self,
        purpose: &CopyPurpose,
        group: String,
        topic: String,
        message: &MessageExt,
    ) -> ClientError {
        let Self { code, cause } = self;
        let (what, message_id) = (purpose.what(), message.msg_id().to_string());
        let is_too_large = code == Some(TOO_LARGE);
        if is_too_large || code.is_some_and(|code| FORBIDDEN.contains(&code)) {
            return ClientError::Refused { what, group, topic, message_id, cause, is_too_large };
        }
        ClientError::Unconfirmed { what, group, topic, message_id, cause }
    }
}

/// Starts the client on a thread of its own; `ready` gets its handle, or the reason why it did not start.
pub(super) fn spawn(
    settings: ClientSettings,
    listener: Arc<dyn Listener>,
    ready: oneshot::Sender<Result<ConsumerHandle, ClientError>>,
) -> Result<ClientThread, ClientError> {
    thread::spawn(settings.listener_threads, move |owner, stopped| match owner {
        Ok(owner) => {
            let (gate, of_client) = (Arc::new(ShutdownGate::default()), listener.clone());
            let lived =
                panics::catch(|| live_on(owner, settings, listener, Arc::clone(&gate), ready, stopped));
            if lived.is_err() {
                panics::report("client", "the thread of the RocketMQ client has panicked: consuming stops");
                of_client.client_failed();
                // No listener call waits for a client that is gone.
                gate.close();
                gate.down();
            }
        }
        Err(error) => drop(ready.send(Err(error))),
    })
}

#[allow(clippy::needless_pass_by_value, reason = "it lives as long as the client")]
fn live_on(
    owner: RuntimeOwner,
    settings: ClientSettings,
    listener: Arc<dyn Listener>,
    gate: Arc<ShutdownGate>,
    ready: oneshot::Sender<Result<ConsumerHandle, ClientError>>,
    stopped: oneshot::Receiver<()>,
) {
    owner.block_on(async {
        match start::start(&owner, &settings, listener, Arc::clone(&gate)).await {
            Ok(running) => {
                let handle = ConsumerHandle::of(&running, settings, Arc::clone(&gate));
                if ready.send(Ok(handle)).is_ok() {
                    let _ = stopped.await;
                }
                stop(running, &gate).await;
            }
            Err(error) => drop(ready.send(Err(error))),
        }
        owner.shutdown_tasks_until(ShutdownDeadline::after(END_TASKS)).await;
    });
    // Invariant: blocked listener calls go on only after the client has let go of their messages; the test
    // `a_blocked_call_neither_acks_nor_sends_back` holds it to that.
    gate.down();
    owner.shutdown_background();
}

/// Pulling stops, then the consumer drops the calls that are still blocked and stores the offsets of the others.
async fn stop(running: StartedConsumer, gate: &ShutdownGate) {
    gate.close();
    running.chores.iter().for_each(JoinHandle::abort);
    let leaving = async {
        let mut consumer = running.consumer.lock().await;
        consumer.suspend().await;
        consumer.shutdown().await;
        running.producer.clone().shutdown().await;
    };
    if timeout(LEAVE, leaving).await.is_err() {
        tracing::warn!(
            "the RocketMQ client did not leave its group within {LEAVE:?}; its tasks are cancelled"
        );
    }
    running.runtime.shutdown_until(ShutdownDeadline::after(END_TASKS)).await;
    drop(running.tls);
}

impl ConsumerHandle {
    fn of(running: &StartedConsumer, settings: ClientSettings, gate: Arc<ShutdownGate>) -> Self {
        Self {
            runtime: Handle::current(),
            consumer: Arc::downgrade(&running.consumer),
            producer: Arc::new(running.producer.clone()),
            settings: Arc::new(settings),
            gate,
            timer: Timer::new(running.versions.clone()),
            copies: Semaphore::new(COPIES),
            probe: Arc::default(),
            conflict: Arc::clone(&running.conflict),
        }
    }

    pub(super) fn close(&self) {
        self.gate.close();
    }

    pub(super) async fn take_threads(&self, threads: u32) {
        if let Some(consumer) = self.consumer.upgrade() {
            let taken = self.run(async move {
                if let Some(consumer) = consumer.lock().await.default_mq_push_consumer_impl() {
                    consumer.update_core_pool_size(threads as usize);
                }
            });
            let _ = taken.await;
        }
    }

    pub(super) async fn queues(&self) -> Option<Queues> {
        let consumer = self.consumer.upgrade()?;
        let asking = self.run(async move {
            let consumer = consumer.lock().await.default_mq_push_consumer_impl().cloned()?;
            let info = Box::pin(MQConsumerInner::consumer_running_info(&*consumer)).await;
            let held = info.mq_table.into_iter().filter(|(_, info)| !info.droped);
            // The client stamps a queue when it takes it up, and again only where queues are locked.
            Some(held.map(|(queue, info)| (Queue::from(&queue), info.last_lock_timestamp)).collect())
        });
        asking.await.ok().flatten()
    }

    pub(super) async fn pause(&self) {
        if let Some(consumer) = self.consumer.upgrade() {
            let _ = self.run(async move { consumer.lock().await.suspend().await }).await;
        }
    }

    pub(super) async fn resume(&self) {
        if let Some(consumer) = self.consumer.upgrade() {
            let _ = self.run(async move { consumer.lock().await.resume().await }).await;
        }
    }

    pub(super) async fn send_copy(
        &self,
        message: &MessageExt,
        purpose: CopyPurpose,
        extent: CopyExtent,
    ) -> Result<(), ClientError> {
        let (settings, group) = (&self.settings, self.settings.full_group());
        let topic = settings.in_namespace(message.topic());
        let is_empty = message.body().is_none_or(|body| body.is_empty()) && extent != CopyExtent::Reference;
        // As a message, a retry would become a dead letter, also one that goes on waiting; see `preflight/order.rs`.
        let is_locked =
            !matches!(purpose, CopyPurpose::DeadLetter(_)) && self.conflict.load(Ordering::Acquire);
        let sent = if is_empty || is_locked {
            let level = purpose.delay_level(&settings.cluster.levels());
            let sent = self.send_back(message.clone(), level).await?;
            sent.map_err(|cause| CopyRefusal { code: None, cause })
        } else {
            let copying = CopyRequest { message, group: &group, topic: &topic, purpose: &purpose, extent };
            self.send_delayed(&copying).await?
        };
        sent.map_err(|refusal| refusal.explained(&purpose, settings.group.clone(), topic, message))
    }

    /// By the broker's timer, or by level where it has none.
    async fn send_delayed(&self, copying: &CopyRequest<'_>) -> Result<Result<(), CopyRefusal>, ClientError> {
        let settings = &self.settings;
        let attempt = |by| {
            let source = MessageQueue::from_parts(copying.topic, copying.message.broker_name(), 0);
            self.send(copying.copy(by, &settings.cluster.levels()), source)
        };
        if copying.was_not_timed() {
            self.timer.was_ignored(&settings.group);
        }
        let by = self.timer.choose(settings.cluster.asks_delays_by());
        let refusal = match attempt(by).await? {
            Ok(()) => return Ok(Ok(())),
            Err(refusal) => refusal,
        };
        let is_delayed = !copying.purpose.delay().is_zero();
        if by == DelayBy::Level || !is_delayed || !Timer::is_refusal(refusal.code) {
            return Ok(Err(refusal));
        }
        let sent = attempt(DelayBy::Level).await?;
        if sent.is_ok() {
            self.timer.refused(&settings.group, refusal.code);
        }
        Ok(sent)
    }

    /// One attempt; `source` is where the message came from.
    async fn send(
        &self,
        copy: Message,
        source: MessageQueue,
    ) -> Result<Result<(), CopyRefusal>, ClientError> {
        let _permit = self.copies.acquire().await.map_err(|_| ClientError::Stopped)?;
        let (producer, probe) = (Arc::clone(&self.producer), Arc::clone(&self.probe));
        self.run(async move {
            if let Some(cause) = probe.refusal(&producer, copy.topic()).await {
                return Err(CopyRefusal { code: None, cause });
            }
            let sending = match first_queue(&producer, copy.topic(), source).await {
                Some(queue) => Box::pin(producer.send_to_queue(copy, queue)).await,
                None => Box::pin(producer.send(copy)).await,
            };
            let sent = match sending {
                Ok(Some(_)) => Ok(()),
                Ok(None) => Err(CopyRefusal { code: None, cause: "the client gave no result".to_owned() }),
                Err(error) => Err(CopyRefusal { code: error.broker_response_code(), cause: text(&error) }),
            };
            probe.note(sent.is_ok());
            sent
        })
        .await
    }

    /// The client's producer refuses an empty body, so such a message goes the client's own way, without further
    /// properties. Its silent fallback is an ordinary message, which is refused too and so is an error. Brokers
    /// refuse empty bodies as well, but a proxy inside the broker goes past that check.
    pub(super) async fn send_back(
        &self,
        mut message: MessageExt,
        level: i32,
    ) -> Result<Result<(), String>, ClientError> {
        let Some(consumer) = self.consumer.upgrade() else { return Err(ClientError::Stopped) };
        self.run(async move {
            let consumer = consumer.lock().await.default_mq_push_consumer_impl().cloned();
            let Some(consumer) = consumer else { return Err("the client is not started".to_owned()) };
            let broker = Some(message.broker_name().into());
            let sent = consumer.send_message_back_with_broker_name(&mut message, level, broker, None);
            Box::pin(sent).await.map_err(|error| text(&error))
        })
        .await
    }

    /// Runs on the client's runtime, so that it works on any executor of the caller's.
    async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, ClientError> {
        if !self.gate.is_open() {
            return Err(ClientError::Stopped);
        }
        let done = self.runtime.spawn(panics::loud("client", Box::pin(work), || {})).await;
        done.ok().flatten().ok_or(ClientError::Stopped)
    }
}

/// The retry topic's first queue on the broker that a message came from, while the name server does not know the topic: the
/// broker makes it for a new group and tells the name server a moment later. Until then the client would choose from the
/// queues of the topic for auto-creation, and a broker refuses a queue that its retry topic does not have.
fn first_queue<'a>(
    producer: &'a DefaultMQProducer,
    retry_topic: &'a CheetahString,
    source: MessageQueue,
) -> BoxFuture<'a, Option<MessageQueue>> {
    Box::pin(async move {
        let client = producer.default_mq_producer_impl()?.get_mq_client_factory().ok()?;
        let is_known = |topic: &CheetahString| client.topic_route_snapshot().contains_key(topic);
        if is_known(retry_topic) || client.update_topic_route_info_from_name_server_topic(retry_topic).await {
            return None;
        }
        // Brings the broker's address, which the client has from routes alone.
        if client.find_broker_address_in_publish(source.broker_name()).is_none() {
            client.update_topic_route_info_from_name_server_topic(source.topic()).await;
        }
        Some(MessageQueue::from_parts(retry_topic.clone(), source.broker_name().clone(), 0))
    })
}

//! The producer: messages with an idempotency key, so that what is sent twice is handled once.

#![doc = include_str!("../docs/producer.md")]

mod batch;
mod builder;
mod check;
mod check_back;
mod error;
pub(crate) mod key;
mod message;
mod outbox;
#[cfg(test)]
mod tests;
mod transaction;
mod wire;

use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use futures_util::future::BoxFuture;

use self::batch::BatchPart;
pub use self::builder::ProducerBuilder;
use self::builder::{ProducerSetup, Settings};
pub use self::check::MessageFault;
pub use self::error::{SendAllError, SendError, TransactionError};
pub use self::message::{Message, OutgoingMessage};
use self::outbox::{Confirmations, Markers, Worker};
pub use self::outbox::{NoOutbox, OutboxError};
pub use self::transaction::TransactionState;
use crate::client::{Placement, ProducerClient, SendFailure, WireMessage, place};
#[doc(inline)]
pub use idem_macros::Message;

/// Sends messages under their idempotency keys. Clones share one connection; dropping the last one stops it.
///
/// ```no_run
/// use idem_rocketmq::prelude::*;
///
/// #[derive(Serialize, Message)]
/// #[message(topic = "orders", tag = "PAID", key = "order_id", order_by = "buyer_id")]
/// struct OrderPaid { order_id: String, buyer_id: u64, amount_cents: i64 }
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let producer = Producer::builder("shop").name_server("127.0.0.1:9876").start().await?;
/// producer.send(&OrderPaid { order_id: "7".into(), buyer_id: 1, amount_cents: 995 }).await?;
/// producer.shutdown().await;
/// # Ok(())
/// # }
/// ```
///
/// `O` is the type of its [outbox](ProducerBuilder::outbox), if it has one.
pub struct Producer<O = NoOutbox> {
    inner: Arc<ProducerCore>,
    outbox: PhantomData<fn() -> O>,
}

struct ProducerCore {
    settings: Settings,
    client: ProducerClient,
    /// Confirms and sends again for an outbox.
    worker: Option<Worker>,
}

/// Where a broker stored a message.
#[derive(Debug, Clone)]
pub struct Sent(Placement);

impl Sent {
    /// The id that the client gave (`UNIQ_KEY`), by which brokers find the message.
    pub fn unique_key(&self) -> &str {
        &self.0.unique_key
    }

    /// The name of the broker.
    pub fn broker(&self) -> &str {
        &self.0.broker
    }

    /// The number of the message queue.
    pub fn queue(&self) -> u32 {
        u32::try_from(self.0.queue).unwrap_or_default()
    }

    /// The offset in the queue; of a delayed or a transactional message, the one where it waits.
    pub fn offset(&self) -> u64 {
        self.0.offset
    }
}

impl Producer {
    /// A producer of the group `group`.
    pub fn builder(group: impl Into<String>) -> ProducerBuilder {
        ProducerBuilder::new(group.into())
    }
}

impl<O> Producer<O> {
    fn of(inner: Arc<ProducerCore>) -> Self {
        Self { inner, outbox: PhantomData }
    }

    /// Sends a message and waits until a broker has it.
    ///
    /// A send that fails is tried again within the [send's time](ProducerBuilder::send_timeout), under the same key. With
    /// an order (`order_by`), the message goes to the queue of its value.
    ///
    /// # Errors
    /// See [`SendError`]; [`is_maybe_sent`](SendError::is_maybe_sent) is the one to think about.
    ///
    /// # Cancel safety
    /// Once polled, the send goes on when the future is dropped: the message may be stored.
    ///
    /// ```no_run
    /// # use idem_rocketmq::prelude::*;
    /// # async fn example(producer: Producer) -> Result<(), Box<dyn std::error::Error>> {
    /// let sent = producer.send(&OutgoingMessage::new("orders", "order-7", "paid")).await?;
    /// println!("queue {} of {}", sent.queue(), sent.broker());
    /// # Ok(())
    /// # }
    /// ```
    pub fn send<M: Message + ?Sized>(&self, message: &M) -> BoxFuture<'static, Result<Sent, SendError>> {
        self.send_outgoing(message.to_outgoing())
    }

    /// Sends a message that consumers get after this time, [as precisely](ProducerBuilder::delay_by) as the broker can.
    ///
    /// # Errors and cancel safety
    /// As [`send`](Self::send).
    ///
    /// ```no_run
    /// # use idem_rocketmq::prelude::*;
    /// # async fn example(producer: Producer, reminder: OutgoingMessage) -> Result<(), Box<dyn std::error::Error>> {
    /// producer.send_after(&reminder, std::time::Duration::from_secs(30 * 60)).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn send_after<M: Message + ?Sized>(
        &self,
        message: &M,
        delay: Duration,
    ) -> BoxFuture<'static, Result<Sent, SendError>> {
        self.send_outgoing(message.to_outgoing().after(delay))
    }

    /// Sends a message that consumers get at this time, [as precisely](ProducerBuilder::delay_by) as the broker can, or at
    /// once if it has passed.
    ///
    /// # Errors and cancel safety
    /// As [`send`](Self::send).
    ///
    /// ```no_run
    /// # use idem_rocketmq::prelude::*;
    /// # async fn example(producer: Producer, reminder: OutgoingMessage) -> Result<(), Box<dyn std::error::Error>> {
    /// let noon = std::time::SystemTime::now() + std::time::Duration::from_secs(3600);
    /// producer.send_at(&reminder, noon).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn send_at<M: Message + ?Sized>(
        &self,
        message: &M,
        time: SystemTime,
    ) -> BoxFuture<'static, Result<Sent, SendError>> {
        self.send_outgoing(message.to_outgoing().at(time))
    }

    /// Hands a message to the connection and waits for no answer: it may be lost, and nobody is told.
    ///
    /// # Errors
    /// The message is wrong, or no broker of its topic is known.
    ///
    /// # Cancel safety
    /// As [`send`](Self::send).
    ///
    /// ```no_run
    /// # use idem_rocketmq::prelude::*;
    /// # async fn example(producer: Producer, click: OutgoingMessage) -> Result<(), Box<dyn std::error::Error>> {
    /// producer.send_one_way(&click).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn send_one_way<M: Message + ?Sized>(
        &self,
        message: &M,
    ) -> BoxFuture<'static, Result<(), SendError>> {
        let (this, message) = (Arc::clone(&self.inner), message.to_outgoing());
        Box::pin(async move {
            let topic = message.topic.clone();
            let wire = this.wire(message)?;
            let sent = this.client.send_one_way(wire).await;
            this.report(&topic, "one_way", 1, sent)
        })
    }

    /// Sends many messages, in batches of one topic each; messages with an order go to their queues and keep it.
    ///
    /// All are looked at before the first one is sent. The batches go out one after the other, and the first one
    /// that fails is the last. Each has the [send's time](ProducerBuilder::send_timeout).
    ///
    /// # Errors
    /// [`SendAllError`] says which messages are stored, which may be, and which are not.
    ///
    /// # Cancel safety
    /// When the future is dropped, the batch under way goes on, and no other begins.
    ///
    /// ```no_run
    /// # use idem_rocketmq::prelude::*;
    /// # async fn example(producer: Producer, orders: Vec<OutgoingMessage>) {
    /// if let Err(error) = producer.send_all(&orders).await {
    ///     let again: Vec<_> = error.not_sent().iter().map(|place| &orders[*place]).collect();
    ///     eprintln!("{error}; {} to be sent again", again.len());
    /// }
    /// # }
    /// ```
    pub fn send_all<'m, M: Message + 'm>(
        &self,
        messages: impl IntoIterator<Item = &'m M>,
    ) -> BoxFuture<'static, Result<(), SendAllError>> {
        let this = Arc::clone(&self.inner);
        let messages: Vec<_> = messages.into_iter().map(Message::to_outgoing).collect();
        Box::pin(async move { this.send_all(messages).await })
    }

    /// Stops the producer for all its clones. Sends that are under way may fail.
    ///
    /// # Cancel safety
    /// Once called, the shutdown goes on when the future is dropped.
    pub fn shutdown(&self) -> BoxFuture<'static, ()> {
        let inner = Arc::clone(&self.inner);
        if let Some(worker) = &inner.worker {
            worker.stop();
        }
        let ended = inner.client.shutdown();
        Box::pin(async move {
            ended.await;
            if let Some(worker) = &inner.worker {
                worker.ended().await;
            }
        })
    }

    fn send_outgoing(&self, message: OutgoingMessage) -> BoxFuture<'static, Result<Sent, SendError>> {
        let this = Arc::clone(&self.inner);
        Box::pin(async move {
            let topic = message.topic.clone();
            let wire = this.wire(message)?;
            let sent = this.client.send(wire, this.settings.send_timeout).await;
            this.report(&topic, "sent", 1, sent).map(Sent)
        })
    }
}

impl<O> Clone for Producer<O> {
    fn clone(&self) -> Self {
        Self::of(Arc::clone(&self.inner))
    }
}

impl ProducerCore {
    fn start(
        setup: ProducerSetup,
        client: ProducerClient,
        outbox: Option<(Markers, Confirmations)>,
    ) -> Arc<Self> {
        Arc::new_cyclic(|inner: &Weak<Self>| Self {
            settings: Arc::new(setup),
            client,
            worker: outbox.map(|(markers, told)| Worker::start(markers, told, inner.clone())),
        })
    }

    fn group(&self) -> &str {
        &self.settings.group
    }

    /// The message as the client takes it, or what is wrong with it.
    fn wire(&self, message: OutgoingMessage) -> Result<WireMessage, SendError> {
        let settings = &self.settings;
        let checked = message.check_for(settings.max_message_size, settings.longest_delay());
        match checked.and_then(|()| settings.check_full_topic(&message.topic)) {
            Ok(()) => Ok(message.into_wire()),
            Err(fault) => {
                let error = SendError::invalid(self.group(), &message.topic, fault);
                self.count(&message.topic, error.outcome(), 1);
                Err(error)
            }
        }
    }

    /// One event and one count for a send.
    fn report<T>(
        &self,
        topic: &str,
        outcome: &'static str,
        messages: usize,
        sent: Result<T, SendFailure>,
    ) -> Result<T, SendError> {
        let sent = sent.map_err(|failure| SendError::failed(self.group(), topic, failure));
        match &sent {
            Ok(_) => {
                self.count(topic, outcome, messages);
                tracing::debug!(group = self.group(), topic, outcome, messages, "sent");
            }
            Err(error) => {
                self.count(topic, error.outcome(), messages);
                let outcome = error.outcome();
                tracing::warn!(group = self.group(), topic, outcome, messages, %error, "not sent");
            }
        }
        sent
    }

    fn count(&self, topic: &str, outcome: &'static str, messages: usize) {
        metrics::counter!(
            "idem_sent_total",
            "group" => self.group().to_owned(), "topic" => topic.to_owned(), "outcome" => outcome
        )
        .increment(messages as u64);
    }

    async fn send_all(&self, messages: Vec<OutgoingMessage>) -> Result<(), SendAllError> {
        let count = messages.len();
        let topics: Vec<_> = messages.iter().map(|message| message.topic.clone()).collect();
        let mut wires = Vec::with_capacity(count);
        for message in messages {
            let wire = self.wire(message).map_err(|cause| SendAllError {
                stored: Vec::new(),
                maybe_sent: Vec::new(),
                not_sent: (0..count).collect(),
                cause,
            })?;
            wires.push(Some(wire));
        }
        let items = self.items(&wires).await;
        let mut batches = batch::split(items, self.settings.max_message_size).into_iter();
        let mut stored = Vec::with_capacity(count);
        for places in batches.by_ref() {
            let topic = &topics[places[0]];
            let batch = places.iter().filter_map(|place| wires[*place].take()).collect();
            let sent = self.send_batch(batch).await;
            if let Err(cause) = self.report(topic, "sent", places.len(), sent) {
                let mut not_sent: Vec<_> = batches.flatten().collect();
                let maybe_sent = if cause.is_maybe_sent() {
                    places
                } else {
                    not_sent.extend(places);
                    Vec::new()
                };
                not_sent.sort_unstable();
                stored.sort_unstable();
                return Err(SendAllError { stored, maybe_sent, not_sent, cause });
            }
            stored.extend(places);
        }
        Ok(())
    }

    async fn send_batch(&self, mut batch: Vec<WireMessage>) -> Result<Placement, SendFailure> {
        let patience = self.settings.send_timeout;
        match batch.len() {
            1 => self.client.send(batch.remove(0), patience).await,
            _ => self.client.send_batch(batch, patience).await,
        }
    }

    /// Groups of messages that can be sent as one batch: those of a topic, and of one queue where they have an order. Where no broker
    /// tells the number of queues, messages with the same hash.
    async fn items<'w>(&self, wires: &'w [Option<WireMessage>]) -> Vec<BatchPart<(&'w str, Option<i64>)>> {
        let mut queues: Vec<(&str, Option<usize>)> = Vec::new();
        let mut items = Vec::with_capacity(wires.len());
        for (index, wire) in wires.iter().enumerate() {
            let Some(wire) = wire else { continue };
            let order = match wire.order {
                None => None,
                Some(hash) => {
                    let known = queues.iter().find(|(topic, _)| *topic == wire.topic);
                    let count = if let Some((_, count)) = known {
                        *count
                    } else {
                        let count = self.client.queues(&wire.topic).await;
                        queues.push((&wire.topic, count));
                        count
                    };
                    let queue = count.and_then(|count| place(hash, count));
                    Some(queue.and_then(|queue| i64::try_from(queue).ok()).unwrap_or(i64::from(hash)))
                }
            };
            items.push(BatchPart { index, group: (wire.topic.as_str(), order), bytes: wire.bytes() });
        }
        items
    }
}

impl<O> fmt::Debug for Producer<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer").field("group", &self.inner.group()).finish_non_exhaustive()
    }
}

//! One transaction, from the stored message to the broker's word.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use idem_core::outbox::{BeginOutcome, Fate, LocalTransaction, OutboxMessage, TransactionId};
use idem_core::panics::loud;
use idem_core::{IdempotencyKey, StoreError, runtime};
use tokio::time::{sleep, timeout};

use crate::client::{HalfMessage, WireMessage};
use crate::producer::message::OutgoingMessage;
use crate::producer::transaction::TransactionState;
use crate::producer::wire::java_hash;
use crate::producer::{ProducerCore, SendError};

/// How often a lost commit is asked for before the caller is told that nobody knows.
const ASKS: u32 = 3;
const PAUSE: Duration = Duration::from_millis(500);
const ROLLBACK: Duration = Duration::from_secs(5);

/// Why a transaction did not begin.
pub(super) enum NotBegun {
    Message(SendError),
    Database(StoreError),
    KeyCommitted,
    GivenUp,
}

/// How a commit failed.
pub(super) enum NotCommitted {
    RolledBack(StoreError),
    Undecided(StoreError),
}

/// A message that is stored, and the open transaction that decides over it. Dropping it rolls both back.
pub(in crate::producer) struct Open {
    inner: Arc<ProducerCore>,
    id: TransactionId,
    topic: String,
    /// There until the end has begun.
    parts: Option<(Box<dyn LocalTransaction>, HalfMessage)>,
}

impl ProducerCore {
    /// Boxed and not generic, so that a user's local work is compiled without the client.
    pub(super) fn open(
        self: &Arc<Self>,
        message: OutgoingMessage,
    ) -> BoxFuture<'static, Result<Open, NotBegun>> {
        let inner = Arc::clone(self);
        Box::pin(async move {
            let id = TransactionId::random();
            let message = OutgoingMessage { transaction: Some(id), ..message };
            let (topic, kept) = (message.topic.clone(), kept(&message, id));
            let wire = inner.wire(message).map_err(NotBegun::Message)?;
            let half = inner.client.prepare(wire, inner.settings.send_timeout).await;
            let half = inner.report(&topic, "prepared", 1, half).map_err(NotBegun::Message)?;
            let begun = match (&inner.worker, kept) {
                (Some(worker), Some((kept, key))) => worker.outbox().begin(&kept, &key).await,
                // Only a producer with an outbox has the method, and only a checked message comes so far.
                _ => Err(StoreError::config("the producer has no outbox")),
            };
            let refused = match begun {
                Ok(BeginOutcome::Open(transaction)) => {
                    return Ok(Open { inner, id, topic, parts: Some((transaction, half)) });
                }
                Ok(BeginOutcome::KeyCommitted) => NotBegun::KeyCommitted,
                Ok(BeginOutcome::RolledBack) => NotBegun::GivenUp,
                Err(error) => NotBegun::Database(error),
            };
            inner.take_back(half, &topic).await;
            Err(refused)
        })
    }

    /// Consumers never get the message. Where the broker is not told, it asks, and is told then.
    fn take_back(self: &Arc<Self>, half: HalfMessage, topic: &str) -> BoxFuture<'static, ()> {
        self.count(topic, "rolled_back", 1);
        let told = self.client.end(half, TransactionState::Rollback.of_client());
        Box::pin(async move { drop(told.await) })
    }
}

/// The part of a message that the marker keeps; `None` if the message is refused.
fn kept(message: &OutgoingMessage, id: TransactionId) -> Option<(OutboxMessage, IdempotencyKey)> {
    let (key, body) = (message.key.as_ref().ok()?.clone(), message.body.as_ref().ok()?.clone());
    let mut properties = message.all_properties();
    let mut take = |name: &str| {
        let place = properties.iter().position(|(known, _)| known == name)?;
        Some(properties.remove(place).1)
    };
    let (tag, lookup_keys) = (take("TAGS"), take("KEYS"));
    let (topic, order_by) = (message.topic.clone(), message.order_by.clone());
    Some((OutboxMessage { id, topic, tag, lookup_keys, order_by, properties, body }, key))
}

/// The kept message as it is sent again.
pub(super) fn wire(message: OutboxMessage) -> WireMessage {
    let mut properties = message.properties;
    let named = [("TAGS", message.tag), ("KEYS", message.lookup_keys)];
    properties.extend(named.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    WireMessage {
        topic: message.topic,
        body: message.body,
        properties,
        delay: None,
        order: message.order_by.as_deref().map(java_hash),
    }
}

impl Open {
    pub(super) fn connection(&mut self) -> &mut (dyn Any + Send) {
        let (transaction, _) = self.parts.as_mut().expect("it has not ended");
        transaction.connection()
    }

    /// Commits, and tells the broker. Once called, it goes on when the future is dropped.
    pub(super) fn commit(mut self) -> BoxFuture<'static, Result<(), NotCommitted>> {
        let (transaction, half) = self.parts.take().expect("it has not ended");
        let (inner, id, topic) = (Arc::clone(&self.inner), self.id, self.topic.clone());
        let committing = async move {
            let error = match transaction.commit().await {
                Ok(()) => {
                    inner.announce(id, half, &topic).await;
                    return Ok(());
                }
                Err(error) => error,
            };
            // Whatever the error says: only the marker knows.
            match inner.fate(id).await {
                Some(Fate::Committed) => {
                    inner.announce(id, half, &topic).await;
                    Ok(())
                }
                Some(Fate::RolledBack) => {
                    inner.take_back(half, &topic).await;
                    Err(NotCommitted::RolledBack(error))
                }
                None => {
                    inner.count(&topic, "left_to_check_back", 1);
                    Err(NotCommitted::Undecided(error))
                }
            }
        };
        let committing = runtime::handle().spawn(loud("outbox commit", committing, || {}));
        Box::pin(async move {
            let cut_off = || Err(NotCommitted::Undecided(StoreError::unavailable("the commit was cut off")));
            committing.await.ok().flatten().unwrap_or_else(cut_off)
        })
    }

    pub(super) fn rollback(mut self) -> BoxFuture<'static, ()> {
        let (transaction, half) = self.parts.take().expect("it has not ended");
        let told = self.inner.take_back(half, &self.topic);
        Box::pin(async move {
            // A statement that the work has given up on may be under way still. Then the connection is closed.
            let _ = timeout(ROLLBACK, transaction.rollback()).await;
            told.await;
        })
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let Some((transaction, half)) = self.parts.take() else { return };
        // Its connection is closed, so that nobody can commit any more.
        drop(transaction);
        let taking_back = self.inner.take_back(half, &self.topic);
        runtime::handle().spawn(loud("outbox rollback", taking_back, || {}));
    }
}

impl ProducerCore {
    /// Lets consumers have the message of a committed transaction. Where the broker does not confirm that, it asks, or the
    /// sweeper sends the message again.
    async fn announce(&self, id: TransactionId, half: HalfMessage, topic: &str) {
        match self.client.commit(half).await {
            Ok(()) => {
                self.count(topic, "committed", 1);
                if let Some(worker) = &self.worker {
                    worker.confirmed(id);
                }
            }
            Err(failure) => {
                self.count(topic, "left_to_check_back", 1);
                tracing::warn!(
                    group = self.group(),
                    topic,
                    transaction = %id,
                    ?failure,
                    "the broker did not confirm a committed transaction: it will ask, or the message is sent again"
                );
            }
        }
    }

    /// How the transaction ended; `None` where the database does not say.
    async fn fate(&self, id: TransactionId) -> Option<Fate> {
        let worker = self.worker.as_ref()?;
        for ask in 0..ASKS {
            if ask > 0 {
                sleep(PAUSE).await;
            }
            match worker.outbox().decide(id).await {
                Ok(fate) => return Some(fate),
                Err(error) => {
                    tracing::debug!(transaction = %id, %error, "the end of a transaction is not known yet");
                }
            }
        }
        None
    }
}

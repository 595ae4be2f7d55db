//! Messages that consumers get only if local work succeeded.

use futures_util::future::BoxFuture;
use idem_core::panics;

use super::message::{Message, OutgoingMessage};
use super::{Producer, ProducerCore, SendError, TransactionError};
use crate::client::{HalfMessage, LocalTransactionState, ProducerClient};

/// How a transaction's local work ended, as a check-back knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TransactionState {
    /// The work is done: consumers get the message.
    Commit,
    /// The work is not done and never will be: consumers never get the message.
    Rollback,
    /// Not known, or not yet: the broker asks again.
    Unknown,
}

impl TransactionState {
    pub(super) fn of_client(self) -> LocalTransactionState {
        match self {
            Self::Commit => LocalTransactionState::CommitMessage,
            Self::Rollback => LocalTransactionState::RollbackMessage,
            Self::Unknown => LocalTransactionState::Unknown,
        }
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Commit => "commit",
            Self::Rollback => "rollback",
            Self::Unknown => "unknown",
        }
    }
}

impl<O> Producer<O> {
    /// Runs local work, and lets consumers have the message only if the work succeeded.
    ///
    /// Needs a tokio runtime, for the time-out. The message is stored first, out of the consumers' sight; then the work
    /// runs, here in this future. When it returns `Ok`, the broker is told to commit. In every other case the broker is
    /// told nothing and asks the
    /// [check-back](super::ProducerBuilder::check_back) how the work ended: after an error too, because an error of a
    /// database's commit leaves open whether it happened. A broker may commit a message twice by itself; idem's
    /// consumers handle it once.
    ///
    /// # Errors
    /// See [`TransactionError`]. In no case of an error has idem told the broker to commit.
    ///
    /// # Cancel safety
    /// Dropping the future drops the work; the check-back decides.
    ///
    /// ```no_run
    /// # use idem_rocketmq::prelude::*;
    /// # async fn insert_order() -> Result<u64, std::io::Error> { Ok(1) }
    /// # async fn example(producer: Producer, paid: OutgoingMessage) -> Result<(), Box<dyn std::error::Error>> {
    /// let order = producer.transaction(&paid, || async { insert_order().await }).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn transaction<M, F, Fut, T, E>(
        &self,
        message: &M,
        local_work: F,
    ) -> Result<T, TransactionError<E>>
    where
        M: Message + ?Sized,
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let message = message.to_outgoing();
        let topic = message.topic.clone();
        let undecided = self.inner.prepare(message).await.map_err(TransactionError::NotPrepared)?;
        let working = panics::guard(Box::pin(async { local_work().await }));
        let worked = tokio::time::timeout(self.inner.settings.transaction_timeout, working).await;
        let (state, result) = match worked {
            Ok(Ok(Ok(value))) => (TransactionState::Commit, Ok(value)),
            Ok(Ok(Err(error))) => (TransactionState::Unknown, Err(TransactionError::Failed(error))),
            Ok(Err(_)) => (TransactionState::Unknown, Err(TransactionError::Panicked)),
            Err(_) => (TransactionState::Unknown, Err(TransactionError::TimedOut)),
        };
        self.inner.decide(undecided, state, &topic).await;
        result
    }
}

impl ProducerCore {
    /// Boxed and not generic, so that a user's local work is compiled without the client.
    fn prepare(&self, message: OutgoingMessage) -> BoxFuture<'_, Result<Undecided<'_>, SendError>> {
        Box::pin(async move {
            let topic = message.topic.clone();
            if !self.settings.has_check_back(&topic) {
                return Err(SendError::no_check_back(self.group(), &topic));
            }
            let wire = self.wire(message)?;
            let half = self.client.prepare(wire, self.settings.send_timeout).await;
            let half = self.report(&topic, "prepared", 1, half)?;
            Ok(Undecided { client: &self.client, half: Some(half) })
        })
    }

    fn decide<'a>(
        &'a self,
        undecided: Undecided<'a>,
        state: TransactionState,
        topic: &'a str,
    ) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            if state != TransactionState::Commit {
                self.count(topic, "left_to_check_back", 1);
                tracing::warn!(
                    group = self.group(),
                    topic,
                    "the local work of a transaction did not succeed: the broker will ask the check-back"
                );
                return;
            }
            if undecided.end(state).await {
                return self.count(topic, "committed", 1);
            }
            self.count(topic, "left_to_check_back", 1);
            tracing::warn!(
                group = self.group(),
                topic,
                "the broker could not be told that a transaction is committed: it will ask the check-back"
            );
        })
    }
}

/// A half message whose end is not decided. Dropping it leaves the end to the check-back, and never commits.
struct Undecided<'c> {
    client: &'c ProducerClient,
    half: Option<HalfMessage>,
}

impl Undecided<'_> {
    /// Tells the broker, as well as that can be told: it does not answer.
    async fn end(mut self, state: TransactionState) -> bool {
        let Some(half) = self.half.take() else { return false };
        self.client.end(half, state.of_client()).await.is_ok()
    }
}

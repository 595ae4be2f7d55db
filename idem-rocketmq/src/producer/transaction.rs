//! Messages that consumers get only if local work succeeded.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use idem_core::{HandlerError, panics, runtime};
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::message::{Message, OutgoingMessage};
use super::outbox::{Markers, id_of};
use super::{Producer, ProducerCore, SendError, TransactionError};
use crate::Error;
use crate::client::{
    CheckBack, CheckBackReply, Delivery, HalfMessage, LocalTransactionState, ProducerClient,
};
use crate::error::Kind;

/// The time that a check-back may take.
const CHECK_TIME: Duration = Duration::from_secs(30);

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

    fn as_str(self) -> &'static str {
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

type Check = dyn Fn(Delivery) -> BoxFuture<'static, Result<TransactionState, HandlerError>> + Send + Sync;

/// The check-backs of a producer by topic.
#[derive(Clone, Default)]
pub(super) struct CheckBacks(BTreeMap<String, Arc<Check>>);

impl CheckBacks {
    pub(super) fn add(&mut self, topic: String, check: Box<Check>) {
        self.0.insert(topic, check.into());
    }

    pub(super) fn topics(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// `None` where there is nobody to answer.
    pub(super) fn on_this_runtime(
        self,
        group: &str,
        markers: Option<Markers>,
    ) -> Result<Option<Arc<dyn CheckBack>>, Error> {
        let user = match Handle::try_current() {
            Ok(user) => user,
            Err(_) if self.0.is_empty() => runtime::handle().clone(),
            Err(_) => return Err(Kind::NoRuntimeForChecks { group: group.to_owned() }.into()),
        };
        if self.0.is_empty() && markers.is_none() {
            return Ok(None);
        }
        Ok(Some(Arc::new(Answers { checks: self, markers, group: group.to_owned(), user })))
    }
}

struct Answers {
    checks: CheckBacks,
    markers: Option<Markers>,
    group: String,
    user: Handle,
}

impl CheckBack for Answers {
    /// On one of the client's threads that may block; the check-back itself runs on the user's runtime.
    fn check(&self, message: Delivery) -> CheckBackReply {
        let (topic, message_id) = (message.topic.clone(), message.message_id.clone());
        let marked = self.markers.as_ref().and_then(|markers| Some((markers, id_of(&message)?)));
        let state = match (&marked, self.checks.0.get(message.topic())) {
            (Some((markers, id)), _) => ask(runtime::handle(), markers.answer(*id)),
            (None, Some(check)) => {
                let check = Arc::clone(check);
                ask(&self.user, async move { check(message).await })
            }
            (None, None) => Err("no check-back is given for this topic".to_owned()),
        };
        let answer = state.as_ref().copied().unwrap_or(TransactionState::Unknown);
        metrics::counter!(
            "idem_checked_back_total",
            "group" => self.group.clone(), "topic" => topic.to_string(), "answer" => answer.as_str()
        )
        .increment(1);
        match state {
            Ok(_) => tracing::info!(
                group = self.group,
                topic = topic.as_str(),
                message_id = message_id.as_str(),
                answer = answer.as_str(),
                "the check-back has answered for a transaction"
            ),
            Err(reason) => tracing::warn!(
                group = self.group,
                topic = topic.as_str(),
                message_id = message_id.as_str(),
                reason,
                "a transaction stays unknown: the broker asks again"
            ),
        }
        let confirmed = marked.map(|(markers, id)| markers.confirmed(id));
        CheckBackReply { state: answer.of_client(), confirmed }
    }
}

fn ask(
    on: &Handle,
    check: impl Future<Output = Result<TransactionState, HandlerError>> + Send + 'static,
) -> Result<TransactionState, String> {
    let (answer, answered) = std::sync::mpsc::channel();
    let task = on.spawn(async move {
        let checking = panics::guard(Box::pin(check));
        let state = match timeout(CHECK_TIME, checking).await {
            Ok(Ok(Ok(state))) => Ok(state),
            Ok(Ok(Err(error))) => Err(panics::catch(move || format!("the check-back failed: {error}"))
                .unwrap_or_else(|_| "the check-back failed with an error that cannot be shown".to_owned())),
            Ok(Err(_)) => Err("the check-back panicked".to_owned()),
            Err(_) => Err(format!("the check-back took longer than {CHECK_TIME:?}")),
        };
        let _ = answer.send(state);
    });
    // The runtime may be blocked or gone.
    let state = answered.recv_timeout(CHECK_TIME.saturating_add(Duration::from_secs(1)));
    task.abort();
    state.unwrap_or_else(|_| Err("the runtime of the check-back gives no answer".to_owned()))
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

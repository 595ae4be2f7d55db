//! Local transactions in a database that decide over their message.

mod error;
mod open;
mod worker;

use std::sync::Arc;

use idem_core::HandlerError;
use idem_core::outbox::{Fate, Outbox, TransactionId, TypedOutbox};
use idem_core::panics;
use tokio::sync::mpsc;

pub use self::error::OutboxError;
use self::open::NotCommitted;
pub(super) use self::worker::Worker;
use super::Producer;
use super::message::Message;
use super::transaction::TransactionState;

/// The outbox of a producer that has none.
#[derive(Debug)]
pub struct NoOutbox(());

impl<O> Producer<O> {
    /// Runs local work in a transaction of the database, and lets consumers have the message if, and only if, it was
    /// committed.
    ///
    /// Needs a tokio runtime, for the [time-out](super::ProducerBuilder::transaction_timeout). The message is stored first, out
    /// of the consumers' sight. Then idem begins the transaction, with a marker that carries the message as its first
    /// statement, and the work runs in it, here in this future. When it returns `Ok`, idem commits and tells the broker; in
    /// every other case it rolls both back. Where the process dies, or the database is lost in between, the marker decides:
    /// see the [guide](crate::guide::outbox).
    ///
    /// The work must not end the transaction itself, nor do anything outside of the database that may not be done twice or in
    /// vain. The key can be committed once: a later transaction under it is refused with
    /// [`is_key_committed`](OutboxError::is_key_committed).
    ///
    /// # Errors
    /// See [`OutboxError`]: nothing has happened, or it is not known yet and will be decided.
    ///
    /// # Panics
    /// An outbox that is not idem's gives another connection than its type says.
    ///
    /// # Cancel safety
    /// Dropping the future rolls back, unless the commit had begun, which then goes on.
    ///
    /// ```no_run
    /// # #[cfg(feature = "postgres")]
    /// # mod example {
    /// use idem_rocketmq::outbox::PostgresOutbox;
    /// use idem_rocketmq::prelude::*;
    /// use sqlx::PgConnection;
    ///
    /// # async fn example(paid: OutgoingMessage, url: &str) -> Result<(), Box<dyn std::error::Error>> {
    /// let outbox = PostgresOutbox::connect(url).await?;
    /// let producer = Producer::builder("shop").name_server("127.0.0.1:9876").outbox(outbox).start().await?;
    /// producer
    ///     .transaction_on(&paid, async |tx: &mut PgConnection| {
    ///         sqlx::query("INSERT INTO orders (id) VALUES (7)").execute(tx).await
    ///     })
    ///     .await?;
    /// # Ok(())
    /// # }
    /// # }
    /// ```
    pub async fn transaction_on<M, F, T, E>(&self, message: &M, local_work: F) -> Result<T, OutboxError<E>>
    where
        O: TypedOutbox,
        M: Message + ?Sized,
        F: AsyncFnOnce(&mut O::Connection) -> Result<T, E>,
    {
        let mut open = self.inner.open(message.to_outgoing()).await.map_err(OutboxError::of_beginning)?;
        let Some(connection) = open.connection().downcast_mut() else {
            panic!("an outbox gives what its type says");
        };
        let working = panics::guard(Box::pin(async { local_work(connection).await }));
        let worked = tokio::time::timeout(self.inner.settings.transaction_timeout, working).await;
        match worked {
            Ok(Ok(Ok(value))) => match open.commit().await {
                Ok(()) => Ok(value),
                Err(NotCommitted::RolledBack(cause)) => Err(OutboxError::NotCommitted(cause)),
                Err(NotCommitted::Undecided(cause)) => Err(OutboxError::Undecided(cause)),
            },
            Ok(Ok(Err(error))) => {
                open.rollback().await;
                Err(OutboxError::Failed(error))
            }
            // A statement may be under way still: its connection is closed.
            Ok(Err(_)) => Err(OutboxError::Panicked),
            Err(_) => Err(OutboxError::TimedOut),
        }
    }
}

/// Questions and answers to an outbox beside the transactions themselves. Clones share it.
#[derive(Clone)]
pub(super) struct Markers {
    outbox: Arc<dyn Outbox>,
    /// Weak, so that the worker alone says when nothing more is told.
    confirmed: mpsc::WeakUnboundedSender<TransactionId>,
}

/// By which a worker is told what brokers have confirmed.
pub(super) struct Confirmations {
    tell: mpsc::UnboundedSender<TransactionId>,
    told: mpsc::UnboundedReceiver<TransactionId>,
}

impl Markers {
    pub(super) fn new(outbox: Arc<dyn Outbox>) -> (Self, Confirmations) {
        let (tell, told) = mpsc::unbounded_channel();
        (Self { outbox, confirmed: tell.downgrade() }, Confirmations { tell, told })
    }

    /// The answer to a broker.
    pub(super) fn answer(
        &self,
        id: TransactionId,
    ) -> impl Future<Output = Result<TransactionState, HandlerError>> + Send + 'static {
        let outbox = Arc::clone(&self.outbox);
        async move {
            Ok(match outbox.decide(id).await? {
                Fate::Committed => TransactionState::Commit,
                Fate::RolledBack => TransactionState::Rollback,
            })
        }
    }

    /// To be called when the broker has confirmed the message.
    pub(super) fn confirmed(&self, id: TransactionId) -> Box<dyn FnOnce() + Send> {
        let confirmed = self.confirmed.clone();
        Box::new(move || {
            if let Some(confirmed) = confirmed.upgrade() {
                let _ = confirmed.send(id);
            }
        })
    }
}

//! Local transactions that decide over a message: the contract between a producer and the database that it works on.
//!
//! A producer stores a message out of consumers' sight, does its work in a transaction of the database, and then lets
//! consumers have the message, or not. An [`Outbox`] makes both agree whatever fails in between. It writes a *marker* as the
//! first statement of the transaction, so that the marker is there exactly where the work is:
//!
//! - Whoever has to know how a transaction ended asks for its marker ([`Outbox::decide`]). Where there is none, the
//!   transaction is rolled back in the same step, by a marker that says so and on which its own one fails.
//! - The marker carries the message, so that a [`Sweeper`] can send again what the broker may not have.
//!
//! idem's are `PostgresOutbox`, `MySqlOutbox` and `SqliteOutbox`, one for each feature; implement the traits to bring another
//! database.

mod id;
mod message;
mod sweep;

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

pub use self::id::{NoTransactionId, TransactionId};
pub use self::message::OutboxMessage;
pub use self::sweep::{NotSent, Resend, Sweeper};
use crate::key::IdempotencyKey;
use crate::store::StoreError;

/// The markers of a producer group's local transactions, in the database on which they work.
///
/// Every step but [`begin`](Self::begin) can be repeated: a lost answer is repaired by asking again. All times are the
/// database's own.
pub trait Outbox: Send + Sync + 'static {
    /// A word for logs and metrics.
    fn name(&self) -> &'static str;

    /// Makes it the outbox of this producer group, unless it is another one's: what a member sends again must be its group's.
    ///
    /// # Errors
    /// [`StoreError::is_config`] where it belongs to another group; the database is out of reach.
    fn own<'a>(&'a self, group: &'a str) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Begins a transaction, and makes the message's marker its first statement.
    ///
    /// Where another transaction under the same key is under way, it waits for its end, within a bound.
    ///
    /// # Errors
    /// The database is out of reach, or the other transaction takes longer than the bound.
    ///
    /// # Cancel safety
    /// Dropping the future leaves no marker.
    fn begin<'a>(
        &'a self,
        message: &'a OutboxMessage,
        key: &'a IdempotencyKey,
    ) -> BoxFuture<'a, Result<BeginOutcome, StoreError>>;

    /// How a transaction ended. One that has left no marker is rolled back by this call, and what it answers stays true.
    ///
    /// A transaction that is under way is waited for, within a bound.
    ///
    /// # Errors
    /// The database is out of reach, or the transaction takes longer than the bound: nothing is decided.
    fn decide(&self, id: TransactionId) -> BoxFuture<'_, Result<Fate, StoreError>>;

    /// Notes that the broker has confirmed these transactions' messages, so that they are not sent again.
    fn sent<'a>(&'a self, ids: &'a [TransactionId]) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Becomes the member that sweeps, or stays it, for so long from now. `false` where another member is it.
    fn lead(&self, holder: [u8; 16], lease: Duration) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// Some of the committed messages that should have been confirmed by now.
    fn due(&self) -> BoxFuture<'_, Result<Vec<OutboxMessage>, StoreError>>;

    /// Has a message wait for as long again before it is due, because it could not be sent.
    fn postpone(&self, id: TransactionId) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Deletes some markers whose retention is over, and says how many. One whose message has not been confirmed is never
    /// among them.
    fn purge(&self) -> BoxFuture<'_, Result<u64, StoreError>>;

    /// The pause between two sweeps.
    fn sweep_every(&self) -> Duration;
}

/// An outbox that says by its type what its transactions work on, so that the compiler can compare.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no outbox, which the producer needs for a transaction on a database",
    label = "no outbox",
    note = "give its builder one of the database that the work is done in: `.outbox(PostgresOutbox::connect(url).await?)`, \
            `MySqlOutbox` or `SqliteOutbox`; its type is then `Producer<PostgresOutbox>`"
)]
pub trait TypedOutbox: Clone + Send + Sync + 'static {
    /// The connection that local work is given, such as `PgConnection`.
    type Connection: Send + 'static;

    /// The outbox, whose [`LocalTransaction::connection`] must be of that type.
    fn outbox(&self) -> Arc<dyn Outbox>;
}

/// The outcome of a beginning.
pub enum BeginOutcome {
    /// The transaction is open, and its marker written.
    Open(Box<dyn LocalTransaction>),
    /// Another transaction under the same key has been committed before.
    KeyCommitted,
    /// This transaction has been rolled back by [`Outbox::decide`] before it began.
    RolledBack,
}

/// How a transaction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Its work is there for good.
    Committed,
    /// Nothing of its work is there, nor ever will be.
    RolledBack,
}

/// An open transaction with its marker. Dropping it rolls it back.
pub trait LocalTransaction: Send {
    /// The part of the local work: a value of the outbox's [`TypedOutbox::Connection`].
    fn connection(&mut self) -> &mut (dyn Any + Send);

    /// Makes sure that the marker is still there, and commits.
    ///
    /// # Errors
    /// Nobody knows how it ended before [`Outbox::decide`] says so: not even where the database refused.
    ///
    /// # Cancel safety
    /// Once polled, it goes on when the future is dropped.
    fn commit(self: Box<Self>) -> BoxFuture<'static, Result<(), StoreError>>;

    /// Rolls back, and waits until that is done.
    fn rollback(self: Box<Self>) -> BoxFuture<'static, ()>;
}

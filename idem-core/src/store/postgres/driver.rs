//! Another library's connections, for the transactions of handlers.

use std::error::Error as StdError;
use std::future::Future;

/// The result of a [`PostgresDriver`]'s call.
pub type DriverResult<T> = Result<T, Box<dyn StdError + Send + Sync>>;

#[doc = include_str!("driver.md")]
#[diagnostic::on_unimplemented(
    message = "`{Self}` opens no transactions in PostgreSQL",
    note = "implement `PostgresDriver` for the pool of your ORM, as `examples/orm` does for diesel-async"
)]
pub trait PostgresDriver: Send + Sync + 'static {
    /// A connection on which a transaction is open, a pool's mostly. It is dropped after its end.
    ///
    /// Where it is dropped before that, its transaction must not live on: the connection is closed, or rolled back before
    /// anybody else has it, which is what pools do.
    type Transaction: Send + 'static;

    /// The connection that handlers take: `&mut Connection`.
    type Connection: Send + 'static;

    /// The statement that [`begin`](Self::begin) runs on the connection first: outside of a transaction of idem's the session
    /// then writes nothing, so that nothing of a handler is kept that has ended its transaction and goes on. When the
    /// transaction is over, idem resets it.
    const READ_ONLY_OUTSIDE: &'static str = "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY";

    /// The most transactions that can be open at one time: the pool's size.
    fn max_open(&self) -> usize;

    /// Takes a connection, runs [`READ_ONLY_OUTSIDE`](Self::READ_ONLY_OUTSIDE), and begins a transaction as the library does
    /// it for its users, without a statement that reads or writes: idem makes it one that writes. It must see what others
    /// have committed meanwhile: `READ COMMITTED`, PostgreSQL's default.
    fn begin(&self) -> impl Future<Output = DriverResult<Self::Transaction>> + Send;

    /// The handler's part of a transaction.
    fn connection(transaction: &mut Self::Transaction) -> &mut Self::Connection;

    /// Runs a statement of idem's, as a prepared one.
    ///
    /// Its parameters are `bytea`, or null for `None`. It gives one row at most, whose only column is a `bytea` that is
    /// called `value`; `None` where it gives no row.
    fn query(
        connection: &mut Self::Connection,
        statement: &str,
        parameters: &[Option<&[u8]>],
    ) -> impl Future<Output = DriverResult<Option<Vec<u8>>>> + Send;

    /// Commits as the library does it for its users. It is called again for what the handler has left open: savepoints,
    /// mostly.
    fn commit(connection: &mut Self::Connection) -> impl Future<Output = DriverResult<()>> + Send;

    /// Rolls back, likewise.
    fn rollback(connection: &mut Self::Connection) -> impl Future<Output = DriverResult<()>> + Send;

    /// Whether an error of the library's says that the database ended a transaction for others' sake: a deadlock
    /// (`40P01`) or a serialisation failure (`40001`). The message is then run again, which costs no attempt.
    fn is_conflict(error: &(dyn StdError + 'static)) -> bool {
        let _ = error;
        false
    }
}

//! Transactions in which a handler works beside its own record.

use std::any::{Any, TypeId, type_name};
use std::error::Error as StdError;
use std::fmt;

use futures_util::future::BoxFuture;

use super::{Answer, Answers, Claim, ClaimRequest, CompleteRequest, StoreError};

/// Opens transactions on the database in which a store's records live, so that a handler's effect and its record commit
/// together or not at all.
///
/// idem's SQL stores are of this kind. To bring another pool or an ORM, give the `PostgresStore` its driver, which is a few
/// lines; or implement this for a store of your own: [`Store::transactions`] gives it to the engine.
///
/// [`Store::transactions`]: super::Store::transactions
pub trait Transactions: Send + Sync + 'static {
    /// The type of the connection that handlers are given.
    fn connection(&self) -> ConnectionType;

    /// The most transactions that can be open at one time.
    fn max_open(&self) -> usize;

    /// The answer to a claim that is known without a transaction: the key is completed.
    fn known<'a>(&'a self, request: &'a ClaimRequest) -> BoxFuture<'a, Option<Claim>> {
        let _ = request;
        Box::pin(std::future::ready(None))
    }

    /// As [`known`](Self::known) for many keys: an answer, or none, for each of them.
    fn known_all<'a>(&'a self, requests: &'a [ClaimRequest]) -> BoxFuture<'a, Vec<Option<Claim>>> {
        Box::pin(async move {
            let mut known = Vec::with_capacity(requests.len());
            for request in requests {
                known.push(self.known(request).await);
            }
            known
        })
    }

    /// Begins a transaction, on the Tokio runtime on which its handler will run.
    ///
    /// # Errors
    /// The database is out of reach, or all connections are taken for too long.
    ///
    /// # Cancel safety
    /// Dropping the future gives the connection back.
    fn begin(&self) -> BoxFuture<'_, Result<Box<dyn Transaction>, StoreError>>;

    /// Whether an error, which a handler met in such a transaction, says that the database ended it for others' sake: a
    /// deadlock or a serialisation failure. The message is then run again, which costs no attempt.
    fn is_conflict(&self, error: &(dyn StdError + 'static)) -> bool {
        let _ = error;
        false
    }
}

impl fmt::Debug for dyn Transactions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "transactions on {:?}", self.connection())
    }
}

/// An open transaction. Dropping it rolls it back.
pub trait Transaction: Send {
    /// The handler's part: a value of the type that [`Transactions::connection`] names.
    fn connection(&mut self) -> &mut (dyn Any + Send);

    /// As [`Store::claim`](super::Store::claim) for one key, in this transaction: others see nothing of it before the commit.
    ///
    /// Where another transaction has the key, it waits for its end, within a bound of the store's; after that the key is
    /// [`Claim::InProgress`] with nothing remaining.
    ///
    /// # Errors
    /// The statement failed; the transaction is of no use any more.
    fn claim<'a>(&'a mut self, request: &'a ClaimRequest) -> BoxFuture<'a, Result<Claim, StoreError>>;

    /// Turns the record that this transaction has claimed into a completed one: the last statement before the commit.
    ///
    /// [`Answer::Lost`] where that is not exactly one record, because the handler has ended the transaction or lost a part
    /// of it.
    ///
    /// # Errors
    /// The statement failed, which it also does where the handler has swallowed the failure of one of its own.
    fn complete<'a>(&'a mut self, request: &'a CompleteRequest) -> BoxFuture<'a, Result<Answer, StoreError>>;

    /// As [`claim`](Self::claim) for many keys, no two of which are equal: an answer for each, in the order of the requests.
    ///
    /// Keys are claimed in an order that is the same for everybody, so that two transactions wait for each other and never
    /// both. As it comes, this claims one key after the other in that order.
    ///
    /// # Errors
    /// The transaction is of no use any more: a statement failed, or a key is taken for longer than is waited, which is a
    /// [conflict](StoreError::conflict). The messages are then handled one by one.
    fn claim_all<'a>(&'a mut self, requests: &'a [ClaimRequest]) -> BoxFuture<'a, Answers<Claim>> {
        Box::pin(async move {
            let mut order: Vec<usize> = (0..requests.len()).collect();
            order.sort_unstable_by(|one, two| requests[*one].key.cmp(&requests[*two].key));
            let mut answers = Vec::with_capacity(requests.len());
            for place in order {
                match self.claim(&requests[place]).await? {
                    // It was waited for, which no handler is to begin behind.
                    Claim::InProgress { remaining, .. } if remaining.is_zero() => {
                        return Err(StoreError::key_is_taken());
                    }
                    claim => answers.push((place, claim)),
                }
            }
            answers.sort_unstable_by_key(|(place, _)| *place);
            Ok(answers.into_iter().map(|(_, claim)| Ok(claim)).collect())
        })
    }

    /// As [`complete`](Self::complete) for many records: [`Answer::Lost`] where one of them was not completed. As it comes,
    /// this completes one after the other.
    ///
    /// # Errors
    /// As those of `complete`.
    fn complete_all<'a>(
        &'a mut self,
        requests: &'a [CompleteRequest],
    ) -> BoxFuture<'a, Result<Answer, StoreError>> {
        Box::pin(async move {
            for request in requests {
                if self.complete(request).await? == Answer::Lost {
                    return Ok(Answer::Lost);
                }
            }
            Ok(Answer::Done)
        })
    }

    /// Sets a savepoint inside of the last one that was neither released nor rolled back to.
    ///
    /// # Errors
    /// The statement failed; the transaction is of no use any more. As it comes: the store has no savepoints.
    fn savepoint(&mut self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(std::future::ready(Err(StoreError::config("the store's transactions have no savepoints"))))
    }

    /// Ends the last savepoint, with those that a handler has left open inside of it. Either all that was done since is kept
    /// as a part of the transaction, or none of it.
    ///
    /// # Errors
    /// The savepoint is gone, because the handler or the database has ended the transaction, which is of no use any more.
    fn end_savepoint(&mut self, end: SavepointEnd) -> BoxFuture<'_, Result<(), StoreError>> {
        let _ = end;
        self.savepoint()
    }

    /// Commits.
    ///
    /// # Errors
    /// The database refused, or was lost before it answered: then nobody knows.
    fn commit(self: Box<Self>) -> BoxFuture<'static, Result<(), StoreError>>;

    /// Rolls back, and waits until that is done.
    fn rollback(self: Box<Self>) -> BoxFuture<'static, ()>;
}

/// The end of a savepoint: its work is kept or undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SavepointEnd {
    /// It is part of the transaction.
    Release,
    /// It is undone.
    Rollback,
}

/// The type of what handlers are given of a transaction.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ConnectionType {
    id: TypeId,
    name: &'static str,
}

impl ConnectionType {
    /// The type `C`.
    pub fn of<C: 'static>() -> Self {
        Self { id: TypeId::of::<C>(), name: type_name::<C>() }
    }

    /// Its name, for people.
    pub fn name(self) -> &'static str {
        self.name
    }
}

impl fmt::Debug for ConnectionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

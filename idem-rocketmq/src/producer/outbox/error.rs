//! How a transaction on a database ended, if not with a commit.

use std::error::Error as StdError;
use std::fmt;

use idem_core::StoreError;

use super::open::NotBegun;
use crate::producer::SendError;

/// How a [`Producer::transaction_on`](crate::Producer::transaction_on) ended, if not with a commit that is known.
///
/// In every case but one nothing has happened: nothing in the database, and consumers never get the message. Only of
/// [`Undecided`](Self::Undecided) nobody knows yet.
#[derive(Debug)]
#[non_exhaustive]
pub enum OutboxError<E> {
    /// The message was not stored, and the local work did not begin.
    NotPrepared(SendError),
    /// The database gave no transaction, and the local work did not begin.
    NotBegun(StoreError),
    /// A transaction under the same key was committed before: its work is done, and consumers get its message. The local work
    /// did not begin now.
    KeyCommitted,
    /// The broker had asked for this transaction before it began, and so it was given up: the machine was busy, or the
    /// database. The local work did not begin.
    GivenUp,
    /// The local work failed, and is rolled back.
    Failed(E),
    /// The local work panicked, and is rolled back.
    Panicked,
    /// The local work took too long, and is rolled back.
    TimedOut,
    /// The local work succeeded, and could not be committed: it is rolled back.
    NotCommitted(StoreError),
    /// The database was lost during the commit. It may have happened; whichever it is, the message agrees with it as soon as
    /// the database is back: do not do the work again under another key.
    Undecided(StoreError),
}

impl<E> OutboxError<E> {
    pub(super) fn of_beginning(error: NotBegun) -> Self {
        match error {
            NotBegun::Message(error) => Self::NotPrepared(error),
            NotBegun::Database(error) => Self::NotBegun(error),
            NotBegun::KeyCommitted => Self::KeyCommitted,
            NotBegun::GivenUp => Self::GivenUp,
        }
    }

    /// Whether nothing has happened, in the database nor for consumers, and nothing will.
    pub fn is_rolled_back(&self) -> bool {
        !self.is_undecided() && !self.is_key_committed()
    }

    /// Whether a transaction under the same key was committed before.
    pub fn is_key_committed(&self) -> bool {
        matches!(self, Self::KeyCommitted)
    }

    /// Whether nobody knows yet. The same call again finds out: it does the work, or says
    /// [`is_key_committed`](Self::is_key_committed).
    pub fn is_undecided(&self) -> bool {
        matches!(self, Self::Undecided(_))
    }
}

impl<E: fmt::Display> fmt::Display for OutboxError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotPrepared(error) => write!(f, "the transaction did not begin: {error}"),
            Self::NotBegun(error) => write!(f, "the transaction did not begin: {error}"),
            Self::KeyCommitted => f.write_str(
                "the transaction did not begin: another one under the same key was committed before, and its message is sent",
            ),
            Self::GivenUp => f.write_str(
                "the transaction did not begin: its broker had asked for it meanwhile, so that it was given up; try it again",
            ),
            Self::Failed(error) => write!(f, "the local work failed and is rolled back: {error}"),
            Self::Panicked => f.write_str("the local work panicked and is rolled back"),
            Self::TimedOut => f.write_str(
                "the local work took too long and is rolled back: make it shorter, or raise `.transaction_timeout(..)`",
            ),
            Self::NotCommitted(error) => {
                write!(f, "the transaction could not be committed and is rolled back: {error}")
            }
            Self::Undecided(error) => write!(
                f,
                "the database was lost during the commit; the message will agree with whatever became of it, and the same \
                 call again finds out: {error}"
            ),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> StdError for OutboxError<E> {}

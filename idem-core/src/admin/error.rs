//! The errors of decisions.

use std::time::Duration;

use crate::store::StoreError;

/// Why a decision was not carried out, or a question not answered. The record is as it was, but where
/// [`Storage`](Self::Storage) says that nobody knows.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum AdminError {
    /// Somebody holds the lease.
    #[error(
        "the key's handler runs just now, and its lease lasts {remaining:?} still: wait for its end, or force the decision if \
         its process is gone"
    )]
    Live {
        /// How long the lease lasts, if it is not renewed.
        remaining: Duration,
    },
    /// The work is done.
    #[error("the key is completed: force `run` or `purge` if its work is to be done again")]
    Completed,
    /// A run of the key ended without an answer.
    #[error(
        "the key is in doubt, and would be run again: decide `done` or `run`, or force the decision to forget even that"
    )]
    InDoubt,
    /// Others have changed the key meanwhile.
    #[error("others have changed the key meanwhile: look at it again and decide anew")]
    Overtaken,
    /// Who or why is missing, or too long.
    #[error("{what} of a decision has 1 to {most} bytes: the trail is to say who decided, and why")]
    Words {
        /// Which of them.
        what: &'static str,
        /// The most bytes that it may have.
        most: usize,
    },
    /// The store did not answer. Where that was after a decision had begun, nobody knows how far it has come: ask again, or show
    /// the record; a lease that it took is over in ten seconds.
    #[error(transparent)]
    Storage(#[from] StoreError),
}

//! The answers of a guard.

use thiserror::Error;

/// The answer to the question that a guard puts to a row.
#[must_use = "whether the work is still to be done depends on it"]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Guarded {
    /// It holds now, and did not before: the work is this caller's.
    Applied,
    /// It held before: this is a duplicate, and there is nothing to do.
    AlreadyApplied,
    /// It does not hold, and cannot be made to.
    Conflict(Conflict),
}

impl Guarded {
    /// Whether it was applied now (`true`) or before (`false`); a conflict is an error.
    ///
    /// ```
    /// use idem_core::sql::guard::{Conflict, Guarded};
    ///
    /// assert!(Guarded::Applied.applied().unwrap());
    /// assert!(!Guarded::AlreadyApplied.applied().unwrap());
    /// assert_eq!(Guarded::Conflict(Conflict::NoRow).applied().unwrap_err(), Conflict::NoRow);
    /// ```
    pub fn applied(self) -> Result<bool, Conflict> {
        match self {
            Self::Applied => Ok(true),
            Self::AlreadyApplied => Ok(false),
            Self::Conflict(conflict) => Err(conflict),
        }
    }
}

/// Why a guard did not let the caller through.
///
/// As an error its text has none of the values. Returned from a handler it means a retry; where waiting cannot help, wrap it
/// in a [`Reject`](crate::Reject).
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Conflict {
    /// There is no such row.
    #[error("there is no such row")]
    NoRow,
    /// The row is in another state, given as text; none is NULL. It is the state that was asked for if something else keeps
    /// the row from changing: a trigger, a row policy, or others that move it to and fro.
    #[error("the row is in another state")]
    OtherState(Option<String>),
    /// The row has another version; none is NULL.
    #[error("the row has another version")]
    OtherVersion(Option<i64>),
    /// The row is there, with other values than these.
    #[error("the row is there with other values")]
    OtherValues,
    /// Somebody else holds the row's lock, and did not let it go in time.
    #[error("the row is locked by somebody else")]
    Locked,
}

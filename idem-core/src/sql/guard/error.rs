//! The error of a guard whose question the database did not answer.

use std::error::Error as StdError;
use std::fmt;

use sqlx::error::DatabaseError;

use crate::sql::Dialect;
use crate::sql::dialect::StatementErrorMeaning;
use crate::sql::name::NameError;

/// A guard has no answer: a name was refused, or the database failed.
///
/// In a transaction, return it and let the transaction roll back: PostgreSQL takes no further statement after a failed
/// one. Its texts have no values, as every error of idem; [`database`](Self::database) has all that the database said.
pub struct Error {
    table: String,
    kind: GuardErrorKind,
}

/// Private: what can go wrong may grow.
pub(super) enum GuardErrorKind {
    Name(NameError),
    Value(String),
    NoTransaction,
    ManyRows(u64),
    Refused { error: Box<dyn DatabaseError>, meaning: StatementErrorMeaning, quotes_values: bool },
    Failed(sqlx::Error),
}

impl Error {
    pub(super) fn new(table: &str, kind: GuardErrorKind) -> Self {
        Self { table: table.chars().take(127).collect(), kind }
    }

    pub(super) fn of_database<DB: Dialect>(table: &str, error: sqlx::Error) -> Self {
        let kind = match error {
            sqlx::Error::Database(error) => GuardErrorKind::Refused {
                meaning: DB::meaning(&*error),
                quotes_values: DB::quotes_values(&*error),
                error,
            },
            other => GuardErrorKind::Failed(other),
        };
        Self::new(table, kind)
    }

    /// Whether the same transaction may succeed when it is run again from its start: a deadlock, a serialisation failure,
    /// a lock that was not free in time, a lost connection. Nothing of it is committed.
    ///
    /// A handler that returns the error has just that: its message is retried.
    pub fn is_retryable(&self) -> bool {
        match &self.kind {
            GuardErrorKind::Refused { meaning, .. } => {
                matches!(meaning, StatementErrorMeaning::RunAgain | StatementErrorMeaning::Locked)
            }
            GuardErrorKind::Failed(error) => {
                matches!(error, sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::WorkerCrashed)
            }
            _ => false,
        }
    }

    /// Whether the name of a table or column was refused. Nothing was sent to the database.
    pub fn is_name(&self) -> bool {
        matches!(self.kind, GuardErrorKind::Name(_))
    }

    /// The database's own error, if it sent one. Its texts may quote values.
    pub fn database(&self) -> Option<&dyn DatabaseError> {
        match &self.kind {
            GuardErrorKind::Refused { error, .. } => Some(&**error),
            _ => None,
        }
    }

    pub(super) fn meaning(&self) -> StatementErrorMeaning {
        match self.kind {
            GuardErrorKind::Refused { meaning, .. } => meaning,
            _ => StatementErrorMeaning::Other,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            // The table's own name may be what is refused.
            GuardErrorKind::Name(error) => write!(f, "the guard cannot be asked: {error}"),
            kind => write!(f, "the guard of {:?} has no answer: {kind}", self.table),
        }
    }
}

impl fmt::Display for GuardErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(error) => error.fmt(f),
            Self::Value(column) => write!(f, "the value for the column {column} cannot be sent to this database"),
            Self::NoTransaction => f.write_str(
                "there is no transaction on the connection, and a row lock lasts no longer: begin one with sqlx's `begin`",
            ),
            Self::ManyRows(rows) => write!(
                f,
                "it concerned {rows} rows where one was meant; roll back, and name columns with `id` that tell rows apart"
            ),
            Self::Refused { error, quotes_values, .. } => refused(f, &**error, *quotes_values),
            Self::Failed(_) => f.write_str("the database did not answer"),
        }
    }
}

fn refused(f: &mut fmt::Formatter<'_>, error: &dyn DatabaseError, quotes_values: bool) -> fmt::Result {
    let code = error.code();
    let code = code.as_deref().unwrap_or("unknown");
    if quotes_values {
        write!(
            f,
            "the database refused the statement with code {code}; its text may quote values and is left out"
        )
    } else {
        write!(f, "the database refused the statement with code {code}: {}", error.message())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Error({self})")
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match &self.kind {
            GuardErrorKind::Failed(error) => Some(error),
            _ => None,
        }
    }
}

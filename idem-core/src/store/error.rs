//! The error of all stores.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use crate::record::RecordError;

/// Why a store did not answer.
///
/// The text says what failed and what to do; it holds no key, payload or password.
#[derive(Clone)]
pub struct StoreError {
    kind: StoreErrorKind,
    message: Arc<str>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StoreErrorKind {
    Unavailable,
    Statement,
    Conflict,
    Full,
    Record,
    Config,
}

impl StoreError {
    /// The store is out of reach, or did not answer in time. Asking again may help.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(StoreErrorKind::Unavailable, message)
    }

    /// The store refused the statement. In a batch, one entry may be the reason: halves are tried.
    pub fn statement(message: impl Into<String>) -> Self {
        Self::new(StoreErrorKind::Statement, message)
    }

    /// The database ended a transaction for others' sake: a deadlock or a serialisation failure. Beginning anew helps.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(StoreErrorKind::Conflict, message)
    }

    /// Keys that are claimed together wait for no key longer than a bound.
    pub(crate) fn key_is_taken() -> Self {
        Self::conflict("another transaction works on one of the keys")
    }

    /// A bounded store has no room. It fails instead of forgetting something.
    pub fn full(message: impl Into<String>) -> Self {
        Self::new(StoreErrorKind::Full, message)
    }

    /// The stored value is not a record that this version understands.
    pub fn record(error: RecordError) -> Self {
        Self::new(StoreErrorKind::Record, error.to_string())
    }

    /// The store's settings, version or credentials are wrong: asking again does not help.
    pub fn config(message: impl Into<String>) -> Self {
        Self::new(StoreErrorKind::Config, message)
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into().into());
        self
    }

    fn new(kind: StoreErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into().into(), source: None }
    }

    /// Whether the store is out of reach, so that asking again may help.
    pub fn is_unavailable(&self) -> bool {
        self.kind == StoreErrorKind::Unavailable
    }

    /// Whether the database ended a transaction for others' sake.
    pub fn is_conflict(&self) -> bool {
        self.kind == StoreErrorKind::Conflict
    }

    /// Whether a bounded store has no room.
    pub fn is_full(&self) -> bool {
        self.kind == StoreErrorKind::Full
    }

    /// Whether the stored value is a newer version's or foreign.
    pub fn is_record(&self) -> bool {
        self.kind == StoreErrorKind::Record
    }

    /// Whether settings, version or credentials are wrong.
    pub fn is_config(&self) -> bool {
        self.kind == StoreErrorKind::Config
    }

    /// Whether the store refused the statement as a whole.
    pub fn is_statement(&self) -> bool {
        self.kind == StoreErrorKind::Statement
    }
}

impl fmt::Debug for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreError")
            .field("kind", &self.kind)
            .field("message", &self.message)
            .field("source", &self.source.as_ref().map(ToString::to_string))
            .finish()
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for StoreError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

//! What a handler says when it did not succeed.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

/// What a handler returns.
pub type HandlerResult = Result<(), HandlerError>;

/// Whatever a handler failed with.
///
/// It is no `Error` itself, so that one conversion can serve every error type, anyhow's, eyre's and strings.
pub struct HandlerError(Box<dyn StdError + Send + Sync>);

impl<E: Into<Box<dyn StdError + Send + Sync>>> From<E> for HandlerError {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl fmt::Debug for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HandlerError({})", self.0)
    }
}

/// What an error asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// Retry with the handler's backoff, or after this delay.
    Retry(Option<Duration>),
    /// Dead letter at once.
    Reject,
}

impl fmt::Display for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl HandlerError {
    /// What this error asks for: the outermost [`Retry`] or [`Reject`] of its chain, else a retry.
    pub fn disposition(&self) -> Disposition {
        Disposition::Retry(None)
    }
}

/// Retry after a delay of the handler's choice.
#[derive(Debug)]
pub struct Retry;

/// Give up at once.
#[derive(Debug)]
pub struct Reject;

/// Shorthands on results.
pub trait ResultExt {}

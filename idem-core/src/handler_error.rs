//! The errors of handlers.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

mod chain;

/// Any error, boxed.
type Boxed = Box<dyn StdError + Send + Sync>;

/// The result of a handler.
pub type HandlerResult = Result<(), HandlerError>;

/// Whatever a handler failed with.
///
/// It is no `Error` itself, so that one conversion serves every error type, anyhow's, eyre's and strings: `?`
/// just works. Unless the chain holds a [`Retry`] or a [`Reject`], the message is retried with the handler's
/// backoff.
///
/// `Display` and `Debug` show the error and its sources in one line of at most [`MAX_TEXT`](Self::MAX_TEXT)
/// bytes, and never a backtrace.
///
/// ```
/// use idem_core::{Disposition, HandlerError};
///
/// let error: HandlerError = "no connection".into();
/// assert_eq!(error.disposition(), Disposition::Retry(None));
/// assert_eq!(error.to_string(), "no connection");
/// ```
pub struct HandlerError(Boxed);

impl HandlerError {
    /// The most bytes that [`chain_text`](Self::chain_text) gives: 1 KiB.
    pub const MAX_TEXT: usize = 1024;

    /// The treatment that this error asks for: the outermost [`Retry`] or [`Reject`] of its chain, else a retry with the
    /// handler's backoff.
    pub fn disposition(&self) -> Disposition {
        let asked = chain::of(self.as_error()).find_map(|error| match Mark::of(error)? {
            Asks::For(disposition) => Some(disposition),
            Asks::Uncertain => None,
        });
        asked.unwrap_or(Disposition::Retry(None))
    }

    /// Whether there is an [`Uncertain`] in the error's chain: the handler does not know whether its work was done.
    pub fn is_uncertain(&self) -> bool {
        chain::of(self.as_error()).any(|error| Mark::of(error) == Some(Asks::Uncertain))
    }

    /// The error and its sources in one line, outermost first, for logs and message properties.
    ///
    /// It is cut after [`MAX_TEXT`](Self::MAX_TEXT) bytes, and control characters are spaces in it, because
    /// RocketMQ separates properties by them. A source whose text its parent's text ends with is not repeated.
    pub fn chain_text(&self) -> String {
        chain::text(self.as_error(), Self::MAX_TEXT)
    }

    /// The error and its sources, outermost first.
    pub(crate) fn chain(&self) -> impl Iterator<Item = &(dyn StdError + 'static)> {
        chain::of(self.as_error())
    }

    /// The error that the handler failed with.
    pub fn as_error(&self) -> &(dyn StdError + Send + Sync + 'static) {
        &*self.0
    }
}

impl<E: Into<Boxed>> From<E> for HandlerError {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl fmt::Display for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.chain_text())
    }
}

impl fmt::Debug for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HandlerError({})", self.chain_text())
    }
}

/// The treatment that an error asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// Retry with the handler's backoff, or after this delay.
    Retry(Option<Duration>),
    /// Dead letter at once.
    Reject,
}

/// An error that asks for a retry after a delay of the handler's choice.
///
/// It is found anywhere in the chain of the error that a handler returns.
///
/// ```
/// use std::time::Duration;
/// use idem_core::{Disposition, HandlerError, Retry};
///
/// let delay = Duration::from_secs(30);
/// let error = HandlerError::from(Retry::after(delay).because("the bank is closed"));
/// assert_eq!(error.disposition(), Disposition::Retry(Some(delay)));
/// assert_eq!(error.to_string(), "the bank is closed");
/// ```
pub struct Retry(Mark);

impl Retry {
    /// Retry after `delay`.
    pub fn after(delay: Duration) -> Self {
        Self(Mark { asks: Asks::For(Disposition::Retry(Some(delay))), why: None })
    }

    /// Says why: an error, or a text.
    #[must_use]
    pub fn because(self, why: impl Into<Boxed>) -> Self {
        Self(Mark { why: Some(why.into()), ..self.0 })
    }
}

/// An error that gives up at once: the message becomes a dead letter without further attempts.
///
/// It is found anywhere in the chain of the error that a handler returns. Only anyhow's `.context(Reject::new(..))`
/// hides it: say [`or_reject`](ResultExt::or_reject) or [`Reject::because`] instead.
///
/// ```
/// use idem_core::{Disposition, HandlerError, Reject};
///
/// let error = HandlerError::from(Reject::new("the amount is negative"));
/// assert_eq!(error.disposition(), Disposition::Reject);
/// assert_eq!(error.to_string(), "the amount is negative");
/// ```
pub struct Reject(Mark);

impl Reject {
    /// Gives up for this reason.
    pub fn new(reason: impl Into<String>) -> Self {
        Self::because(reason.into())
    }

    /// Gives up because of this error.
    pub fn because(why: impl Into<Boxed>) -> Self {
        Self(Mark { asks: Asks::For(Disposition::Reject), why: Some(why.into()) })
    }
}

/// An error that says that nobody knows: what the handler asked for may have happened or not, because no answer came.
///
/// It is found anywhere in the chain of the error that a handler returns, also together with a [`Retry`] or a [`Reject`]. The
/// record remembers the [doubt](crate::Doubt), and the handler's [`uncertain`](crate::Settings::uncertain) says what becomes of
/// the message.
///
/// ```
/// use idem_core::{HandlerError, Uncertain};
///
/// let error = HandlerError::from(Uncertain::because("no answer from the provider"));
/// assert!(error.is_uncertain());
/// assert_eq!(error.to_string(), "no answer from the provider");
/// ```
pub struct Uncertain(Mark);

impl Uncertain {
    /// Nobody knows, because of this error.
    pub fn because(why: impl Into<Boxed>) -> Self {
        Self(Mark { asks: Asks::Uncertain, why: Some(why.into()) })
    }
}

macro_rules! error_with_mark {
    ($ty:ident) => {
        impl fmt::Display for $ty {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt_why(f)
            }
        }

        impl fmt::Debug for $ty {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($ty), "({})"), self)
            }
        }

        impl StdError for $ty {
            fn source(&self) -> Option<&(dyn StdError + 'static)> {
                Some(&self.0)
            }
        }
    };
}

error_with_mark!(Retry);
error_with_mark!(Reject);
error_with_mark!(Uncertain);

/// The meaning of a mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asks {
    For(Disposition),
    Uncertain,
}

/// The error that is looked for in a chain.
///
/// A plain downcast to [`Retry`] and [`Reject`] fails at the top of an anyhow error and behind thiserror's
/// `#[error(transparent)]`: both stand in front of the error and pass on only its source. So the mark is the
/// source, and the sources of the error that the user gave come after it.
struct Mark {
    asks: Asks,
    why: Option<Boxed>,
}

impl Mark {
    fn of(error: &(dyn StdError + 'static)) -> Option<Asks> {
        error.downcast_ref::<Self>().map(|mark| mark.asks)
    }

    fn fmt_why(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.why {
            Some(why) => fmt::Display::fmt(why, f),
            None => fmt::Display::fmt(self, f),
        }
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.asks {
            Asks::For(Disposition::Retry(Some(delay))) => write!(f, "retry after {delay:?}"),
            Asks::For(Disposition::Retry(None)) => f.write_str("retry"),
            Asks::For(Disposition::Reject) => f.write_str("not to be retried"),
            Asks::Uncertain => f.write_str("nobody knows whether it was done"),
        }
    }
}

impl fmt::Debug for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl StdError for Mark {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.why.as_deref().and_then(|why| why.source())
    }
}

/// Shorthands on results, for a handler's `?`.
///
/// ```
/// use idem_core::{HandlerResult, ResultExt};
///
/// async fn count(text: String) -> HandlerResult {
///     let number: u64 = text.parse().or_reject()?;
///     println!("{number}");
///     Ok(())
/// }
/// ```
pub trait ResultExt<T>: Sized {
    /// Turns an error into a [`Reject`]: no attempt will make it better.
    ///
    /// # Errors
    /// The result was an error.
    fn or_reject(self) -> Result<T, Reject>;

    /// Turns an error into a [`Retry`] after `delay`.
    ///
    /// # Errors
    /// The result was an error.
    fn or_retry_after(self, delay: Duration) -> Result<T, Retry>;

    /// Turns an error into an [`Uncertain`]: what was asked for may have happened.
    ///
    /// # Errors
    /// The result was an error.
    fn or_uncertain(self) -> Result<T, Uncertain>;
}

impl<T, E: Into<Boxed>> ResultExt<T> for Result<T, E> {
    fn or_reject(self) -> Result<T, Reject> {
        self.map_err(Reject::because)
    }

    fn or_retry_after(self, delay: Duration) -> Result<T, Retry> {
        self.map_err(|error| Retry::after(delay).because(error))
    }

    fn or_uncertain(self) -> Result<T, Uncertain> {
        self.map_err(Uncertain::because)
    }
}

#[cfg(test)]
mod tests;

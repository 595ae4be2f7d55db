use std::error::Error as StdError;
use std::fmt;

/// Why an argument of a handler could not be had.
pub struct ExtractError(Box<dyn StdError + Send + Sync>);

impl ExtractError {
    /// For this reason: a text or an error. A [`Reject`](idem_core::Reject) or [`Retry`](idem_core::Retry) in
    /// it decides what becomes of the message.
    pub fn new(reason: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self(reason.into())
    }

    pub(crate) fn no_connection<C>() -> Self {
        Self::new(format!(
            "the handler has no transaction with a `{}`, or has taken it before",
            std::any::type_name::<C>()
        ))
    }

    pub(crate) fn missing_state<T>() -> Self {
        Self::new(format!("the consumer has no state `{}`", std::any::type_name::<T>()))
    }
}

impl fmt::Display for ExtractError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a handler's argument could not be had")
    }
}

impl fmt::Debug for ExtractError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ExtractError({})", self.0)
    }
}

impl StdError for ExtractError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&*self.0)
    }
}

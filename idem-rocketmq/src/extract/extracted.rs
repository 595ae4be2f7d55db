use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;

use super::ExtractError;

/// An extractor's value, or the future that brings it: one type for all extractors, which allocates for those that may wait.
#[doc(hidden)]
pub enum Extracted<'c, T> {
    /// None once it was taken.
    Now(Option<Result<T, ExtractError>>),
    Later(BoxFuture<'c, Result<T, ExtractError>>),
}

impl<'c, T> Extracted<'c, T> {
    pub(super) fn now(value: Result<T, ExtractError>) -> Self {
        Self::Now(Some(value))
    }

    pub(super) fn later(value: impl Future<Output = Result<T, ExtractError>> + Send + 'c) -> Self {
        Self::Later(Box::pin(value))
    }
}

/// No value is pinned.
impl<T> Unpin for Extracted<'_, T> {}

impl<T> Future for Extracted<'_, T> {
    type Output = Result<T, ExtractError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Self::Now(value) => Poll::Ready(value.take().expect("polled after it was ready")),
            Self::Later(value) => value.as_mut().poll(cx),
        }
    }
}

impl<T> fmt::Debug for Extracted<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Now(_) => "Now",
            Self::Later(_) => "Later",
        })
    }
}

/// The two functions of an extractor that never waits.
macro_rules! at_once {
    (|$call:ident: &mut $kind:ty| $value:expr) => {
        async fn extract($call: &mut $kind) -> Result<Self, $crate::extract::ExtractError> {
            $value
        }

        fn extracted<'c>($call: &'c mut $kind) -> $crate::extract::extracted::Extracted<'c, Self>
        where
            Self: 'c,
        {
            $crate::extract::extracted::Extracted::now($value)
        }
    };
}
pub(super) use at_once;

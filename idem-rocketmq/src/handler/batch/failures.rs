use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use idem_core::{HandlerError, HandlerResult};

/// The result of a batch handler: the messages that failed, or an error for all of them.
///
/// With `?`, any error is one for all.
pub type BatchResult = Result<BatchFailures, HandlerError>;

/// The messages of a batch that failed, by their place in it, counted from 0. All others have succeeded.
///
/// Each failed message is retried, or becomes a dead letter, by itself; see [`HandlerError`](crate::HandlerError)
/// for what its error decides.
///
/// ```
/// use idem_rocketmq::prelude::*;
///
/// # #[derive(Deserialize)] struct Document { id: String }
/// # #[derive(Clone)] struct Index;
/// # struct Answer { place: usize, status: u16 }
/// # impl Index { async fn bulk(&self, _: &[Document]) -> std::io::Result<Vec<Answer>> { Ok(Vec::new()) } }
/// #[idempotent(key = "id", topic = "documents", batch)]
/// async fn index(documents: Vec<Document>, State(index): State<Index>) -> BatchResult {
///     let answers = index.bulk(&documents).await?;               // an error here is one for all
///     let mut failures = BatchFailures::new();
///     for Answer { place, status } in answers {
///         match status {
///             200..300 => {}
///             400 => failures.add(place, Reject::new("no document")),      // a dead letter at once
///             _ => failures.add(place, format!("answered {status}")),      // retried by itself
///         }
///     }
///     Ok(failures)
/// }
/// # let _ = handlers![index];
/// ```
#[derive(Debug, Default)]
#[must_use = "messages that failed count as handled unless their failures are returned"]
pub struct BatchFailures {
    failed: BTreeMap<usize, HandlerError>,
    /// How many messages were answered for, where each was.
    answered: Option<usize>,
}

impl BatchFailures {
    /// No message failed.
    pub fn new() -> Self {
        Self::default()
    }

    /// The message at this place failed. The first error of a message counts.
    pub fn add(&mut self, place: usize, error: impl Into<HandlerError>) {
        self.failed.entry(place).or_insert_with(|| error.into());
    }

    /// Whether no message failed.
    pub fn is_empty(&self) -> bool {
        self.failed.is_empty()
    }

    /// How many messages failed.
    pub fn len(&self) -> usize {
        self.failed.len()
    }

    /// Each message's own result; an error for all where the places do not fit the batch.
    pub(super) fn results(mut self, messages: usize) -> Result<Vec<HandlerResult>, HandlerError> {
        if let Some(answered) = self.answered.filter(|answered| *answered != messages) {
            return Err(format!(
                "the batch handler returned {answered} results for {messages} messages: return one for each, in their order"
            )
            .into());
        }
        if let Some((place, _)) = self.failed.last_key_value().filter(|(place, _)| **place >= messages) {
            return Err(format!(
                "the batch handler said that the message at place {place} failed, and the batch has {messages}, counted from 0"
            )
            .into());
        }
        Ok((0..messages).map(|place| self.failed.remove(&place).map_or(Ok(()), Err)).collect())
    }
}

impl<E: Into<HandlerError>> Extend<(usize, E)> for BatchFailures {
    fn extend<I: IntoIterator<Item = (usize, E)>>(&mut self, failures: I) {
        failures.into_iter().for_each(|(place, error)| self.add(place, error));
    }
}

impl<E: Into<HandlerError>> FromIterator<(usize, E)> for BatchFailures {
    fn from_iter<I: IntoIterator<Item = (usize, E)>>(failures: I) -> Self {
        let mut all = Self::new();
        all.extend(failures);
        all
    }
}

/// A batch handler's return value: nothing or a `Result<(), E>` for all messages, [`BatchFailures`] or a
/// `Vec<Result<(), E>>` for each, or a `Result` of these.
#[diagnostic::on_unimplemented(
    message = "a batch handler cannot return `{Self}`",
    label = "not a batch handler's result",
    note = "return nothing or `HandlerResult` for all messages together, or `BatchResult` or `Vec<Result<(), E>>` for each"
)]
pub trait BatchReturn {
    /// The result.
    ///
    /// # Errors
    /// All messages failed.
    fn into_batch_result(self) -> BatchResult;
}

impl BatchReturn for () {
    fn into_batch_result(self) -> BatchResult {
        Ok(BatchFailures::new())
    }
}

impl BatchReturn for BatchFailures {
    fn into_batch_result(self) -> BatchResult {
        Ok(self)
    }
}

#[diagnostic::do_not_recommend]
impl<E: Into<HandlerError>> BatchReturn for Vec<Result<(), E>> {
    fn into_batch_result(self) -> BatchResult {
        let answered = Some(self.len());
        let failed = self.into_iter().enumerate().filter_map(|(place, result)| Some((place, result.err()?)));
        Ok(BatchFailures { answered, ..failed.collect() })
    }
}

#[diagnostic::do_not_recommend]
impl<R: BatchReturn, E: Into<HandlerError>> BatchReturn for Result<R, E> {
    fn into_batch_result(self) -> BatchResult {
        self.map_err(Into::into)?.into_batch_result()
    }
}

/// One error for all messages of a batch, which shows and decides what it would by itself.
pub(super) struct ForAll(pub(super) Arc<HandlerError>);

impl fmt::Display for ForAll {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.0.as_error(), f)
    }
}

impl fmt::Debug for ForAll {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl StdError for ForAll {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.as_error().source()
    }
}

//! Why a message was not sent, as far as that is known.

use std::fmt;

use super::check::MessageFault;
use crate::client::SendFailure;

/// Why a send did not end with a broker's confirmation.
///
/// The text says what failed, for which producer group and topic, and what to do. Body, key and secrets are not in
/// it.
///
/// ```no_run
/// # use idem_rocketmq::prelude::*;
/// # async fn example(producer: Producer, message: OutgoingMessage) {
/// match producer.send(&message).await {
///     Ok(sent) => println!("stored in queue {}", sent.queue()),
///     // Under the same key: consumers of idem handle it once, also if both were stored.
///     Err(error) if error.is_maybe_sent() => drop(producer.send(&message).await),
///     Err(error) => eprintln!("{error}"),
/// }
/// # }
/// ```
pub struct SendError(Box<SendErrorParts>);

#[derive(Debug)]
struct SendErrorParts {
    group: String,
    topic: String,
    kind: SendErrorKind,
}

#[derive(Debug)]
enum SendErrorKind {
    Invalid(MessageFault),
    Refused { code: i32, cause: String },
    NotSent { cause: String },
    MaybeSent { cause: String },
    NoCheckBack,
    Stopped,
}

impl SendError {
    pub(super) fn invalid(group: &str, topic: &str, fault: MessageFault) -> Self {
        Self::new(group, topic, SendErrorKind::Invalid(fault))
    }

    pub(super) fn failed(group: &str, topic: &str, failure: SendFailure) -> Self {
        let kind = match failure {
            SendFailure::Refused { code, cause } => SendErrorKind::Refused { code, cause },
            SendFailure::NotSent { cause } => SendErrorKind::NotSent { cause },
            SendFailure::MaybeSent { cause } => SendErrorKind::MaybeSent { cause },
            SendFailure::Stopped => SendErrorKind::Stopped,
        };
        Self::new(group, topic, kind)
    }

    pub(super) fn no_check_back(group: &str, topic: &str) -> Self {
        Self::new(group, topic, SendErrorKind::NoCheckBack)
    }

    fn new(group: &str, topic: &str, kind: SendErrorKind) -> Self {
        Self(Box::new(SendErrorParts { group: group.to_owned(), topic: topic.to_owned(), kind }))
    }

    /// Whether the message may be stored although no broker confirmed it: a time-out, or a connection that broke.
    ///
    /// Send the same message again, under the same key: idem's consumers handle it once.
    pub fn is_maybe_sent(&self) -> bool {
        matches!(self.0.kind, SendErrorKind::MaybeSent { .. })
    }

    /// Whether the message itself is wrong, so that nothing was sent and sending it again fails again.
    pub fn is_invalid(&self) -> bool {
        matches!(self.0.kind, SendErrorKind::Invalid(_) | SendErrorKind::NoCheckBack)
    }

    /// Whether a broker said no: to the rights of the user, or to the message.
    pub fn is_refused(&self) -> bool {
        matches!(self.0.kind, SendErrorKind::Refused { .. })
    }

    /// Whether the same send may succeed later, when a server is back.
    pub fn is_retryable(&self) -> bool {
        matches!(self.0.kind, SendErrorKind::NotSent { .. } | SendErrorKind::MaybeSent { .. })
    }

    /// The fault of the message, if it is the message's.
    pub fn fault(&self) -> Option<&MessageFault> {
        match &self.0.kind {
            SendErrorKind::Invalid(fault) => Some(fault),
            _ => None,
        }
    }

    /// The topic.
    pub fn topic(&self) -> &str {
        &self.0.topic
    }

    /// The word for metrics.
    pub(super) fn outcome(&self) -> &'static str {
        match self.0.kind {
            SendErrorKind::Invalid(_) | SendErrorKind::NoCheckBack => "invalid",
            SendErrorKind::Refused { .. } => "refused",
            SendErrorKind::NotSent { .. } | SendErrorKind::Stopped => "not_sent",
            SendErrorKind::MaybeSent { .. } => "maybe_sent",
        }
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SendErrorParts { group, topic, kind } = &*self.0;
        write!(f, "the producer group `{group}` ")?;
        match kind {
            SendErrorKind::Invalid(fault) => write!(f, "cannot send a message for topic `{topic}`: {fault}"),
            SendErrorKind::Refused { code, cause } => write!(
                f,
                "was refused a message for topic `{topic}` (response code {code}): check the rights of its access key \
                 on this topic, and the broker's limits; {cause}"
            ),
            SendErrorKind::NotSent { cause } => write!(
                f,
                "did not send a message for topic `{topic}` within its time: check that the topic exists and that \
                 its broker runs, then send it again; {cause}"
            ),
            SendErrorKind::MaybeSent { cause } => write!(
                f,
                "does not know whether a message for topic `{topic}` is stored: send it again under the same key, \
                 consumers of idem handle it once; {cause}"
            ),
            SendErrorKind::NoCheckBack => write!(
                f,
                "has no check-back for topic `{topic}`, by which a broker learns how a transaction ended whose answer \
                 was lost: give the builder one with `.check_back(\"{topic}\", ..)`"
            ),
            SendErrorKind::Stopped => {
                write!(f, "has been shut down, so a message for topic `{topic}` was not sent")
            }
        }
    }
}

/// As `Display`: `main` prints a returned error by `Debug`, and a newcomer reads it there.
impl fmt::Debug for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for SendError {}

/// Which messages of a [`Producer::send_all`](super::Producer::send_all) were stored, when not all were.
///
/// The numbers are places in what was given to `send_all`, in rising order.
pub struct SendAllError {
    pub(super) stored: Vec<usize>,
    pub(super) maybe_sent: Vec<usize>,
    pub(super) not_sent: Vec<usize>,
    pub(super) cause: SendError,
}

impl SendAllError {
    /// The messages that a broker has confirmed.
    pub fn stored(&self) -> &[usize] {
        &self.stored
    }

    /// The messages that may be stored. Send them again under the same keys.
    pub fn maybe_sent(&self) -> &[usize] {
        &self.maybe_sent
    }

    /// The messages that are not stored.
    pub fn not_sent(&self) -> &[usize] {
        &self.not_sent
    }

    /// Why sending stopped.
    pub fn cause(&self) -> &SendError {
        &self.cause
    }
}

impl fmt::Display for SendAllError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { stored, maybe_sent, not_sent, cause } = self;
        let (stored, maybe_sent, not_sent) = (stored.len(), maybe_sent.len(), not_sent.len());
        write!(f, "{stored} messages are stored, {maybe_sent} may be, {not_sent} are not: {cause}")
    }
}

impl fmt::Debug for SendAllError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for SendAllError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.cause)
    }
}

/// How a [`Producer::transaction`](super::Producer::transaction) ended, if not with a commit.
///
/// In no case has idem committed the message. What the local work did may nevertheless stand, as in a time-out
/// after its own commit; that is what the check-back finds out, and then commits the message after all.
#[derive(Debug)]
#[non_exhaustive]
pub enum TransactionError<E> {
    /// The message was not prepared, and the local work did not begin.
    NotPrepared(SendError),
    /// The local work failed. The broker asks the check-back.
    Failed(E),
    /// The local work panicked. The broker asks the check-back.
    Panicked,
    /// The local work took too long and was cancelled. The broker asks the check-back.
    TimedOut,
}

impl<E: fmt::Display> fmt::Display for TransactionError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotPrepared(error) => write!(f, "the transaction did not begin: {error}"),
            Self::Failed(error) => write!(f, "the local work failed, the check-back decides: {error}"),
            Self::Panicked => f.write_str("the local work panicked, the check-back decides"),
            Self::TimedOut => f.write_str("the local work took too long, the check-back decides"),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> std::error::Error for TransactionError<E> {}

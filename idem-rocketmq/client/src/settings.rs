use std::time::SystemTime;

use crate::body::LARGEST;
use crate::cluster::{Cluster, check_addresses};
use crate::error::ClientError;
use crate::{names, runtime};

/// Calls of the listener at one time.
///
/// A call holds up to [`DEFAULT_BATCH_SIZE`] messages and mostly waits for handlers. 256 of them cover 8,192
/// messages, far above what handlers run at once, for 256 threads that sleep; the client's runtime allows 512.
pub(crate) const DEFAULT_LISTENER_THREADS: u32 = 256;

/// Messages in one call of the listener.
pub(crate) const DEFAULT_BATCH_SIZE: u32 = 32;

/// How many listener calls idem lets be under way at once at most. A thread that waits for its messages sleeps.
pub const LISTENER_THREADS: u32 = 400;

/// The client pulls no more of a queue while more offsets than this lie between the first and the last message of the listener
/// calls that have not returned.
pub const SPAN: u32 = 2_000;

/// Nor while the bodies of such messages weigh more, in MiB.
pub(crate) const QUEUE_MIB: u32 = 16;

/// The settings of a [`Client`](crate::Client).
#[derive(Clone, Debug)]
pub struct ClientSettings {
    /// The consumer group, without namespace.
    pub group: String,
    /// Where the brokers are.
    pub cluster: Cluster,
    /// Each topic with what the group wants of it.
    pub subscriptions: Vec<(String, Expression)>,
    /// How the group consumes.
    pub mode: Mode,
    /// Where a group starts that has no offset yet.
    pub consume_from: ConsumeFrom,
    /// Whether the broker hears of each message that is handled.
    pub trace: MessageTrace,
    /// Calls of the listener at one time.
    pub listener_threads: u32,
    /// How many of them at first, until [`Client::take_threads`](crate::Client::take_threads); all of them if this is not set.
    pub first_threads: Option<u32>,
    /// The most messages in one call of the listener.
    pub batch_size: u32,
    /// The most that a body may be when it is decompressed, in bytes.
    pub largest_body: usize,
    /// Whether live members of the group may want other messages.
    pub may_differ: bool,
}

/// The settings of a [`ProducerClient`](crate::ProducerClient).
pub struct ProducerSettings {
    /// The producer group, without namespace.
    pub group: String,
    pub cluster: Cluster,
    pub max_message_size: usize,
    /// Topics, without namespace, whose brokers may ask for the state of a transaction.
    pub checked_topics: Vec<String>,
    /// Whether any broker may ask.
    pub all_may_check: bool,
}

/// How a group consumes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Each message by one member, in any order.
    #[default]
    Concurrent,
    /// Each message by one member, those of a queue in their order.
    Orderly,
    /// Each message by every member.
    Broadcast,
}

impl Mode {
    /// For errors.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Concurrent => "concurrent",
            Self::Orderly => "orderly",
            Self::Broadcast => "broadcast",
        }
    }
}

/// Which messages of a topic a group wants.
#[derive(Clone, Debug)]
pub enum Expression {
    /// `*` or `A||B`, without spaces.
    Tags(String),
    /// A condition on the messages' properties.
    Sql(String),
}

/// Where a consumer group without a stored offset starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ConsumeFrom {
    /// The oldest message that the broker has.
    #[default]
    First,
    /// Messages that come after the group's first start.
    Last,
    /// Messages that a broker stored at or after this time.
    Timestamp(SystemTime),
}

/// A time in RocketMQ's milliseconds since 1970. Earlier is 1970, and later than the client can write a date is that date,
/// the end of the year 9999; it would take an unknown one for 1970.
pub(crate) fn millis(time: SystemTime) -> u64 {
    const LAST: u64 = 253_402_214_400_000;
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(LAST).min(LAST)
}

/// RocketMQ's message trace: who consumed a message, when and for how long, for its console and `mqadmin`.
///
/// It shows how the client's listener calls went: a message that idem has sent back for a retry counts as consumed there,
/// and its retry as another message. idem's own events and metrics tell more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum MessageTrace {
    /// No trace.
    #[default]
    Off,
    /// To the topic that RocketMQ has for it, `RMQ_SYS_TRACE_TOPIC`.
    On,
    /// To another topic.
    Topic(String),
}

impl ClientSettings {
    pub fn new(group: impl Into<String>, cluster: Cluster) -> Self {
        Self {
            group: group.into(),
            cluster,
            subscriptions: Vec::new(),
            mode: Mode::default(),
            consume_from: ConsumeFrom::default(),
            trace: MessageTrace::default(),
            listener_threads: DEFAULT_LISTENER_THREADS,
            first_threads: None,
            batch_size: DEFAULT_BATCH_SIZE,
            largest_body: LARGEST,
            may_differ: false,
        }
    }

    /// Everything that can be wrong without asking a server.
    pub(crate) fn check(&self) -> Result<(), ClientError> {
        if let Some(fault) = names::group_fault(&self.group) {
            return Err(ClientError::Group { group: self.group.clone(), fault });
        }
        if self.subscriptions.is_empty() {
            return Err(ClientError::NoSubscription { group: self.group.clone() });
        }
        for (topic, expression) in &self.subscriptions {
            check_topic(topic)?;
            check_expression(expression)?;
        }
        check_addresses(&self.cluster.name_servers)?;
        if let MessageTrace::Topic(topic) = &self.trace {
            check_topic(topic)?;
        }
        within("listener_threads", self.listener_threads, runtime::MAX_LISTENER_THREADS)?;
        within("batch_size", self.batch_size, 1024)
    }

    /// The name that brokers know the group by.
    pub(crate) fn full_group(&self) -> String {
        self.in_namespace(&self.group)
    }

    pub(crate) fn in_namespace(&self, name: &str) -> String {
        self.cluster.full(name)
    }

    /// By which the group's retries come.
    pub fn retry_topic(&self) -> String {
        format!("%RETRY%{}", self.full_group())
    }
}

fn check_topic(topic: &str) -> Result<(), ClientError> {
    let fault = names::topic_fault(topic);
    fault.map_or(Ok(()), |fault| Err(ClientError::Topic { topic: topic.to_owned(), fault }))
}

/// All tags, or some with `||` between them and no spaces: an untrimmed tag matches nothing and says nothing.
fn check_expression(expression: &Expression) -> Result<(), ClientError> {
    let Expression::Tags(expression) = expression else { return Ok(()) };
    let tags = expression.split("||").filter(|_| expression != "*");
    let fault = tags.into_iter().find_map(|tag| names::tag_fault(tag).map(|fault| (tag, fault)));
    fault.map_or(Ok(()), |(tag, fault)| Err(ClientError::Tag { tag: tag.to_owned(), fault }))
}

fn within(name: &'static str, value: u32, most: u32) -> Result<(), ClientError> {
    if (1..=most).contains(&value) { Ok(()) } else { Err(ClientError::OutOfRange { name, value, most }) }
}

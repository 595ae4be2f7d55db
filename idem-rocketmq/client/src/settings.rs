use std::fmt;
use std::time::SystemTime;

use rocketmq_client_rust::{AclClientRPCHook, SessionCredentials};

use super::{ClientError, reach};
use crate::names;

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
pub(super) const QUEUE_MIB: u32 = 16;

/// What a [`Client`](super::Client) needs to know.
#[derive(Clone, Debug)]
pub struct ClientSettings {
    /// The consumer group, without namespace.
    pub group: String,
    /// `host:port` of each name server.
    pub name_servers: Vec<String>,
    /// Each topic with what the group wants of it.
    pub subscriptions: Vec<(String, Expression)>,
    /// How the group consumes.
    pub mode: Mode,
    /// RocketMQ's namespace, which prefixes topics and the group.
    pub namespace: Option<String>,
    /// Tells this member from others; unique by default.
    pub instance_name: Option<String>,
    /// Where a group starts that has no offset yet.
    pub consume_from: ConsumeFrom,
    /// Keys for brokers with access control.
    pub credentials: Option<Credentials>,
    /// Whether the broker is told of each message that is handled.
    pub trace: MessageTrace,
    /// TLS to name servers and brokers.
    pub tls: Option<super::Tls>,
    /// Calls of the listener at one time.
    pub listener_threads: u32,
    /// How many of them at first, until [`Client::take_threads`](super::Client::take_threads); all where there is none.
    pub first_threads: Option<u32>,
    /// The most messages in one call of the listener.
    pub batch_size: u32,
    /// The most that a body may be when it is decompressed, in bytes.
    pub largest_body: usize,
    /// Whether live members of the group may want other messages.
    pub may_differ: bool,
    /// How a retry's delay is asked from the broker.
    pub delay_by: super::DelayBy,
    /// The brokers' delay levels.
    pub delay_levels: super::Levels,
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
pub(super) fn millis(time: SystemTime) -> u64 {
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

/// An access key and its secret. `Debug` shows neither.
#[derive(Clone)]
pub struct Credentials {
    pub access_key: String,
    pub secret_key: String,
    pub security_token: Option<String>,
}

impl Credentials {
    /// An access key with its secret.
    pub fn new(access_key: impl Into<String>, secret_key: impl Into<String>) -> Self {
        Self { access_key: access_key.into(), secret_key: secret_key.into(), security_token: None }
    }

    /// Adds the token of temporary credentials.
    #[must_use]
    pub fn security_token(mut self, token: impl Into<String>) -> Self {
        self.security_token = Some(token.into());
        self
    }

    /// Signs requests.
    pub(super) fn hook(&self) -> AclClientRPCHook {
        let (access, secret) = (self.access_key.clone(), self.secret_key.clone());
        AclClientRPCHook::new(match &self.security_token {
            Some(token) => SessionCredentials::with_token(access, secret, token.clone()),
            None => SessionCredentials::with_keys(access, secret),
        })
    }
}

/// Which part is empty: the client signs with whatever it is given, and a broker then refuses it without a word.
pub fn check_credentials(credentials: &Credentials) -> Option<&'static str> {
    let parts = [
        ("access key", Some(&credentials.access_key)),
        ("secret key", Some(&credentials.secret_key)),
        ("security token", credentials.security_token.as_ref()),
    ];
    let is_blank = |part: Option<&String>| part.is_some_and(|part| part.trim().is_empty());
    parts.into_iter().find(|(_, part)| is_blank(*part)).map(|(what, _)| what)
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(redacted)")
    }
}

impl ClientSettings {
    pub fn new(group: impl Into<String>, name_servers: Vec<String>) -> Self {
        Self {
            group: group.into(),
            name_servers,
            subscriptions: Vec::new(),
            mode: Mode::default(),
            namespace: None,
            instance_name: None,
            consume_from: ConsumeFrom::default(),
            credentials: None,
            tls: None,
            trace: MessageTrace::default(),
            listener_threads: DEFAULT_LISTENER_THREADS,
            first_threads: None,
            batch_size: DEFAULT_BATCH_SIZE,
            largest_body: super::LARGEST_BODY,
            may_differ: false,
            delay_by: super::DelayBy::default(),
            delay_levels: super::Levels::default(),
        }
    }

    /// Everything that can be wrong without asking a server.
    pub(super) fn check(&self) -> Result<(), ClientError> {
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
        reach::check_syntax(&self.name_servers)?;
        if let MessageTrace::Topic(topic) = &self.trace {
            check_topic(topic)?;
        }
        within("listener_threads", self.listener_threads, super::runtime::MAX_LISTENER_THREADS)?;
        within("batch_size", self.batch_size, 1024)
    }

    /// The name that brokers know the group by.
    pub(super) fn full_group(&self) -> String {
        self.in_namespace(&self.group)
    }

    pub(super) fn in_namespace(&self, name: &str) -> String {
        in_namespace(self.namespace.as_deref(), name)
    }

    /// By which the group's retries come.
    pub fn retry_topic(&self) -> String {
        format!("%RETRY%{}", self.full_group())
    }
}

/// A name as brokers know it: the namespace stands behind the prefix of a group's own topics (`NamespaceUtil` in Apache's
/// sources).
pub(super) fn in_namespace(namespace: Option<&str>, name: &str) -> String {
    let Some(namespace) = namespace.filter(|namespace| !namespace.is_empty()) else { return name.to_owned() };
    let prefix = ["%RETRY%", "%DLQ%"].into_iter().find(|prefix| name.starts_with(prefix)).unwrap_or_default();
    let bare = &name[prefix.len()..];
    if bare.strip_prefix(namespace).is_some_and(|rest| rest.starts_with('%')) {
        return name.to_owned();
    }
    format!("{prefix}{namespace}%{bare}")
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

#[cfg(test)]
mod tests {
    use rocketmq_protocol::protocol::namespace_util::NamespaceUtil;

    use super::*;

    #[test]
    fn a_name_in_a_namespace_is_the_one_that_the_client_makes_of_it() {
        for name in
            ["orders", "%RETRY%campaign", "%DLQ%campaign", "ns%orders", "%DLQ%ns%campaign", "nsx%orders"]
        {
            let ours = in_namespace(Some("ns"), name);
            assert_eq!(ours, NamespaceUtil::wrap_namespace("ns", name).as_str());
            assert_eq!(in_namespace(None, name), name);
            assert_eq!(in_namespace(Some(""), name), name);
        }
        assert_eq!(in_namespace(Some("ns"), "%DLQ%campaign"), "%DLQ%ns%campaign");
    }
}

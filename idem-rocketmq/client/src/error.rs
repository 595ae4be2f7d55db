use std::error::Error;
use std::fmt::Write as _;
use std::io;

use rocketmq_client_rust::ClientError as Cause;
use rocketmq_protocol::code::response_code::ResponseCode;

/// An error between idem and RocketMQ.
///
/// Texts name the group, topic or message id and say what to do; no key, payload or secret is in them.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error(
        "the consumer group {group:?} {fault}; a group has 1 to 120 of the characters a-z A-Z 0-9 _ - % |"
    )]
    Group { group: String, fault: &'static str },
    #[error("the topic {topic:?} {fault}; a topic has 1 to 127 of the characters a-z A-Z 0-9 _ - % |")]
    Topic { topic: String, fault: &'static str },
    #[error("the tag {tag:?} {fault}; write one tag without spaces, or several as \"A||B\"")]
    Tag { tag: String, fault: &'static str },
    #[error("the consumer group {group} subscribes to nothing; register at least one handler with a topic")]
    NoSubscription { group: String },
    #[error("{name} is {value}, but must be from 1 to {most}")]
    OutOfRange { name: &'static str, value: u32, most: u32 },
    #[error("no name server is given; set its address, for example \"127.0.0.1:9876\"")]
    NoNameServer,
    #[error(
        "the name server address {address:?} is not of the form host:port, for example \"127.0.0.1:9876\""
    )]
    NameServerSyntax { address: String },
    #[error(
        "cannot reach the name server {address} ({cause}); check that it runs, that the address is its own and that \
         no firewall is between"
    )]
    NameServerUnreachable { address: String, cause: String },
    #[error(
        "the name server {address} is older than RocketMQ 5.0.0, and its routes cannot be read: RocketMQ 5.0.0 or later is \
         needed, for the name servers and the brokers"
    )]
    NameServerTooOld { address: String },
    #[error(
        "cannot reach the broker {address} ({cause}); check that it runs, and that its `brokerIP1` can be reached from here"
    )]
    BrokerUnreachable { address: String, cause: String },
    #[error(
        "the place of the consumer group {group} in its topics, which it broadcasts, cannot be kept in {file} ({cause}): make the \
         directory one that this process may write and that outlasts it, or remove a file that is broken"
    )]
    Offsets { group: String, file: String, cause: io::Error },
    #[error(
        "the consumer group {group} cannot begin in topic {topic} where it was told to: the broker {address} refuses to tell or to \
         store an offset ({cause}, code {code}); see to that, or begin at the first message with `ConsumeFrom::First`"
    )]
    Beginning { group: String, topic: String, address: String, code: i64, cause: String },
    #[error(
        "the broker {address} asks the consumer group {group} who it is: give the access key and the secret key of a user with \
         `.credentials(Credentials::new(access_key, secret_key))`"
    )]
    NoCredentials { group: String, address: String },
    #[error(
        "the broker {address} does not accept the credentials of the consumer group {group}: check that the user of the access key \
         exists there, is enabled and has this secret key"
    )]
    WrongCredentials { group: String, address: String },
    #[error(
        "the user whose credentials the consumer group {group} has may not read the {what} {name} on the broker {address}: allow \
         the user the action Sub on this {what}, or give the credentials of another one"
    )]
    Forbidden { group: String, address: String, what: &'static str, name: String },
    #[error(
        "the broker {address} has no consumer group {group} and makes none by itself: create it first, as with \
         `mqadmin updateSubGroup -g {group} -c CLUSTER`"
    )]
    NoGroup { group: String, address: String },
    #[error(
        "the broker {address} does not let the consumer group {group} read topic {topic} ({cause}): allow it, with `mqadmin \
         updateTopicPerm -p 6` for the topic, `mqadmin updateSubGroup -s true` for the group or `brokerPermission=6` for the broker"
    )]
    Unreadable { group: String, address: String, topic: String, cause: String },
    #[error(
        "the broker {address} does not let the consumer group {group} consume by broadcasting: allow it, with `mqadmin \
         updateSubGroup -g {group} -d true`, or give the handlers a group of their own"
    )]
    NoBroadcast { group: String, address: String },
    #[error(
        "the {what} {address} shows a certificate that is not trusted ({cause}): give the authority that signed it with \
         `Tls::new().root_certificates_file(..)`, and check that the address is the right one"
    )]
    TlsUntrusted { what: &'static str, address: String, cause: String },
    #[error(
        "the {what} {address} shows a certificate that is not for this host: reach it under a name or address that is in its \
         certificate, or have the certificate made for this one"
    )]
    TlsName { what: &'static str, address: String },
    #[error(
        "the {what} {address} {}",
        if *.given {
            "refuses the client certificate: have it signed by an authority that the server trusts, for the use of clients, \
             and check that it has not expired"
        } else {
            "asks for a client certificate: give one with `Tls::new().client_certificate_files(..)`"
        }
    )]
    TlsClientCertificate { what: &'static str, address: String, given: bool },
    #[error(
        "no TLS connection to the {what} {address} can be made ({cause}): check that it speaks TLS at this port, or leave \
         out `.tls(..)`"
    )]
    TlsHandshake { what: &'static str, address: String, cause: String },
    #[error(
        "the {what} {place} cannot be used ({cause}): give PEM, in a file that this process may read or as text"
    )]
    TlsFile { what: &'static str, place: String, cause: String },
    #[error(
        "the system has no root certificates that can be read: install them (on Debian the package ca-certificates), or give the \
         servers' authority with `Tls::new().root_certificates_file(..)`"
    )]
    TlsNoSystemRoots,
    #[error(
        "certificates that are given as text are written to the directory for temporary files, and that fails ({0}): give files, \
         or set TMPDIR to a directory that can be written"
    )]
    TlsDirectory(String),
    #[error(
        "the broker {address} does not take the filter `{filter}` of topic {topic} ({cause}): write a condition as SQL92 has it on the \
         messages' properties, such as `amount > 100 AND TAGS = 'PAID'`; a broker takes it only with `enablePropertyFilter=true`"
    )]
    Filter { topic: String, filter: String, address: String, cause: String },
    #[error(
        "the consumer group {group} has live members ({members}) that subscribe to {theirs}, and this one would subscribe to {ours}: \
         RocketMQ keeps one subscription for a group, and messages that only some members want would be lost. Give what is new a \
         consumer group of its own, or stop all members before the first new one starts; where those messages are not sent yet, or \
         no more, deploy with `.allow_differing_subscriptions()`"
    )]
    Subscriptions { group: String, members: usize, theirs: String, ours: String },
    #[error(
        "the consumer group {group} has live members ({members}) that consume by {model}, and this one would consume by \
         {ours}: the members of a group share its messages in one way, so give this one another consumer group"
    )]
    MessageModel { group: String, members: usize, model: String, ours: String },
    #[error(
        "the consumer group {group} has live members ({members}) that consume {theirs}, and this one would consume {ours}: brokers \
         take retries for dead letters while a member consumes in order. Stop all members before the first new one starts, or \
         give this one another consumer group"
    )]
    Order { group: String, members: usize, theirs: &'static str, ours: &'static str },
    #[error(
        "the broker {address} has queues of the consumer group {group} locked for a member that consumes in order, although it knows \
         of none, and would take retries for dead letters: find that member and stop it, or give this one another consumer group"
    )]
    Locked { group: String, address: String },
    #[error("cannot start the consumer group {group}; the client said: {cause}")]
    Start { group: String, cause: String },
    #[error("cannot start the producer group {group}; the client said: {cause}")]
    StartProducer { group: String, cause: String },
    #[error("cannot start the runtime of the RocketMQ client: {cause}")]
    Runtime { cause: String },
    #[error("cannot start a thread for the RocketMQ client")]
    Thread(#[source] io::Error),
    #[error(
        "no broker confirmed the {what} of message {message_id} (topic {topic}, group {group}); it may be stored or \
         not, so ask again: {cause}"
    )]
    Unconfirmed { what: &'static str, group: String, topic: String, message_id: String, cause: String },
    #[error(
        "the broker refuses the {what} of message {message_id} (topic {topic}, group {group}): {cause}; {}",
        if *.is_too_large {
            "the message leaves no room for what a copy needs: set `maxMessageSize` of the broker, or send smaller messages"
        } else {
            "nothing of the group can be retried or dead-lettered until it is allowed: create the consumer group on the broker, \
             let its user send to the group's retry topic, and make that topic and the dead-letter queue writable"
        }
    )]
    Refused {
        what: &'static str,
        group: String,
        topic: String,
        message_id: String,
        cause: String,
        is_too_large: bool,
    },
    #[error("the RocketMQ client has been shut down")]
    Stopped,
}

impl ClientError {
    pub(crate) fn unreachable(server: ServerKind, address: String, cause: String) -> Self {
        match server {
            ServerKind::Name => Self::NameServerUnreachable { address, cause },
            ServerKind::Broker => Self::BrokerUnreachable { address, cause },
        }
    }

    /// Whether a server is out of reach.
    pub fn is_unreachable(&self) -> bool {
        matches!(
            self,
            Self::NameServerUnreachable { .. } | Self::BrokerUnreachable { .. } | Self::Unconfirmed { .. }
        )
    }

    /// Whether a broker will not take a copy, however often it is asked.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused { .. })
    }

    /// Whether a broker will not take a copy for its size.
    pub fn is_too_large(&self) -> bool {
        matches!(self, Self::Refused { is_too_large: true, .. })
    }

    /// Whether the same call can succeed later without a change by the user.
    pub fn is_retryable(&self) -> bool {
        self.is_unreachable() || matches!(self, Self::Start { .. } | Self::StartProducer { .. })
    }
}

/// A server as errors name it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ServerKind {
    Name,
    Broker,
}

impl ServerKind {
    pub(crate) const fn what(self) -> &'static str {
        match self {
            Self::Name => "name server",
            Self::Broker => "broker",
        }
    }
}

/// The client's error with its sources, because its own text names no cause; and the broker's code with its name, because the
/// client keeps no more of an answer.
pub fn text(error: &Cause) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let _ = write!(text, ": {cause}");
        source = cause.source();
    }
    if let Some(code) = error.broker_response_code() {
        let _ = match ResponseCode::from(code) {
            known if known.to_i32() == code => write!(text, " (response code {code}, {known:?})"),
            _ => write!(text, " (response code {code})"),
        };
    }
    text
}

use std::io;

/// What can go wrong between idem and RocketMQ.
///
/// Texts name the group, topic or message id and say what to do; no key, payload or secret is in them.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
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
        "the name server {address} is older than RocketMQ 5.0.0: its routes cannot be read; upgrade it, 5.0.0 is the \
         oldest version that the client understands"
    )]
    NameServerTooOld { address: String },
    #[error(
        "a broker refuses the consumer group {group} on topic {topic} (response code {code}); check the access key, \
         the secret key and the rights of the user on this topic and group"
    )]
    Refused { group: String, topic: String, code: i32 },
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
    #[error("the RocketMQ client has been shut down")]
    Stopped,
}

impl ClientError {
    /// Whether a server is out of reach.
    pub(crate) fn is_unreachable(&self) -> bool {
        matches!(self, Self::NameServerUnreachable { .. } | Self::Unconfirmed { .. })
    }

    /// Whether the same call can succeed later without a change by the user.
    pub(crate) fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::Unconfirmed { .. }
                | Self::NameServerUnreachable { .. }
                | Self::Start { .. }
                | Self::StartProducer { .. }
        )
    }
}

//! Reasons for which a consumer or a producer does not start.

use std::fmt;

use idem_core::{PolicyError, StoreError};

use crate::client::ClientError;
use crate::client::names::NameFault;
use crate::handler::RouteError;
use crate::state::MissingState;

/// Why a consumer or a producer did not start, or did not stop as it should.
///
/// The text says what is wrong, where, and what to do about it. Keys, payloads and secrets are not in it.
pub struct Error(Box<Kind>);

#[derive(Debug, thiserror::Error)]
pub(crate) enum Kind {
    #[error(
        "the consumer group `{group}` has no handlers: pass the annotated functions, as in \
         `.handlers(handlers![add_gmv])`"
    )]
    NoHandlers { group: String },
    #[error(
        "the consumer group `{group}` has no name server: add one, as in `.name_server(\"127.0.0.1:9876\")`"
    )]
    NoNameServer { group: String },
    #[error(
        "the {what} of the group `{group}` is empty: give the broker's own keys, or leave `.credentials(..)` out where it asks for none"
    )]
    EmptyCredentials { group: String, what: &'static str },
    #[error("the {what} {name:?} of the group `{group}` {fault}: {advice}")]
    Name { group: String, what: &'static str, name: String, fault: &'static str, advice: &'static str },
    #[error(
        "the producer group {group:?} {fault}; a group has 1 to 120 of the characters a-z A-Z 0-9 _ - % |"
    )]
    ProducerGroup { group: String, fault: &'static str },
    #[error(
        "the producer group `{group}` has no name server: add one, as in `.name_server(\"127.0.0.1:9876\")`"
    )]
    NoNameServerToSend { group: String },
    #[error(
        "`{what}` of the producer group `{group}` is zero, so that every call would fail: give it some seconds"
    )]
    ZeroTime { group: String, what: &'static str },
    #[error(
        "the producer group `{group}` has a check-back, which runs on a tokio runtime: start the producer inside one"
    )]
    NoRuntimeForChecks { group: String },
    #[error(
        "the consumer group `{group}` already has a consumer named `{instance_name}` in this process: the brokers would take both for one, and half of the messages would stay; give each its own `.instance_name(..)`, or none, or shut the first one down before"
    )]
    SameInstance { group: String, instance_name: String },
    #[error(
        "the handlers `{first}` and `{second}` would both get {what}: give them different tags or topics, or register them with two consumer groups"
    )]
    Overlap { first: String, second: String, what: String },
    #[error(
        "the handler `{handler}` has a filter, and `{other}` is for the same topic `{topic}`: a consumer group has one subscription of a topic, so a handler with a filter is its topic's only one; register one of them with another consumer group, or handle both in one function"
    )]
    FilterBesideOthers { handler: String, other: String, topic: String },
    #[cfg_attr(not(feature = "embedded"), expect(dead_code, reason = "there is none"))]
    #[error(
        "the handler `{handler}` has a filter, which the embedded broker cannot work out: use tags there, or a broker of Apache RocketMQ"
    )]
    FilterOnEmbedded { handler: String },
    #[error(
        "the consumer group `{group}` has a message trace and TLS: the RocketMQ client sends its trace without the certificates that were given, so leave out `.message_trace(..)`"
    )]
    TraceOverTls { group: String },
    #[error(
        "the handlers `{first}` ({first_mode}) and `{second}` ({second_mode}) are in the consumer group `{group}`, which consumes in one way: register one of them with another consumer group"
    )]
    MixedModes {
        group: String,
        first: String,
        first_mode: &'static str,
        second: String,
        second_mode: &'static str,
    },
    #[error(
        "the consumer group `{group}` is broadcast, so that each instance keeps its own place and records under its name: give each an `.instance_name(..)` of its own that stays the same when it is started again"
    )]
    NoInstanceName { group: String },
    #[error(
        "the handlers `{first}` and `{second}` share the scope `{scope}`, so that a message handled by one is a duplicate for the other: give them different scopes, or say `shared_scope` on both if that is meant"
    )]
    SharedScope { first: String, second: String, scope: String },
    #[error(
        "the delay levels {levels:?} of the group `{group}` are not of the form that brokers have them in: write the broker's `messageDelayLevel`, as in `.delay_levels(\"1s 5s 10s 30s 1m\")`"
    )]
    DelayLevels { group: String, levels: String },
    #[error(
        "the handler `{handler}` takes `&mut {taken}`, and the store `{store}` has no transactions: give the consumer a store in the database that the handler works on, such as `PostgresStore`, `MySqlStore` or `SqliteStore`"
    )]
    NoTransactions { handler: String, taken: &'static str, store: &'static str },
    #[error(
        "the handler `{handler}` takes `&mut {taken}`, and the store `{store}` gives `&mut {given}`: take that, or give the consumer a store in the other database"
    )]
    OtherConnection { handler: String, taken: &'static str, store: &'static str, given: &'static str },
    #[error(
        "the handler `{handler}` takes `&mut {taken}` and does not say that it is transactional: add `transactional` to its attribute, or `.transactional()` to its route"
    )]
    NotTransactional { handler: String, taken: &'static str },
    #[error(
        "the handler `{handler}` is transactional and takes no connection, so that nothing of it is in the transaction: take one, such as `tx: &mut PgConnection`, or remove `transactional`"
    )]
    NoConnectionTaken { handler: String },
    #[error("the handler `{handler}` takes the connection of its transaction twice: take it once")]
    ConnectionTwice { handler: String },
    #[error(
        "the handler `{handler}` is transactional, and its `store_failure` is `open`: without the store there is no transaction to run in; remove one of them"
    )]
    OpenTransactional { handler: String },
    #[error(
        "the handler `{handler}` is transactional, and its `missing_key` is `run_without_dedup`: without a key there is no record to commit with; remove one of them"
    )]
    KeylessTransactional { handler: String },
    #[error(
        "the handler `{handler}` is transactional, and its `fingerprint` is `run`: a run without a record has no transaction to work in; remove one of them"
    )]
    MismatchTransactional { handler: String },
    #[error(
        "the handler `{handler}` is to work on {wanted} messages at once, each in a transaction, and the store `{store}` has {there_are} connections for them: lower the concurrency, or raise the store's connections"
    )]
    TooFewConnections { handler: String, wanted: usize, store: &'static str, there_are: usize },
    #[error("handler `{handler}`: {source}")]
    Policy { handler: String, source: PolicyError },
    #[error("the outbox of the producer group `{group}` cannot be used: {source}")]
    Outbox { group: String, source: StoreError },
    #[error("the {place} of the handler `{handler}` has {fault}")]
    Placeholder { handler: String, place: &'static str, fault: String },
    #[error("{0}")]
    MissingState(MissingState),
    #[error("{0}")]
    Route(RouteError),
    #[error("{0}")]
    Client(ClientError),
    #[error(
        "the consumer must be started inside a tokio runtime, on which its handlers run: call it from an async function under `#[tokio::main]`"
    )]
    NoRuntime,
    #[error("the signals SIGINT and SIGTERM cannot be listened for: {0}")]
    Signal(std::io::Error),
    #[error(
        "the runtime of the handlers went away under the consumer group `{group}`: its messages are left to the broker"
    )]
    RuntimeGone { group: String },
    #[error(
        "the consumer group `{group}` has stopped, because a part of idem that it relies on has panicked ({what}): its messages are left to the broker, and nothing is lost; start it again, and report the panic's message from the standard error"
    )]
    Panicked { group: String, what: &'static str },
}

impl Error {
    /// Whether the setup is at fault: the same call fails again until it is changed.
    pub fn is_misconfiguration(&self) -> bool {
        match &*self.0 {
            Kind::Client(error) => !error.is_retryable(),
            Kind::Outbox { source, .. } => source.is_config(),
            Kind::Signal(_) | Kind::RuntimeGone { .. } | Kind::Panicked { .. } => false,
            _ => true,
        }
    }

    /// Whether a name server or broker is out of reach: the same call may work later.
    pub fn is_unreachable(&self) -> bool {
        matches!(&*self.0, Kind::Client(error) if error.is_unreachable())
    }
}

impl Kind {
    pub(crate) fn name(group: &str, fault: NameFault<'_>) -> Self {
        let NameFault { what, name, fault, advice } = fault;
        Self::Name { group: group.to_owned(), what, name: name.to_owned(), fault, advice }
    }
}

impl From<Kind> for Error {
    fn from(kind: Kind) -> Self {
        Self(Box::new(kind))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Error {
    /// As `Display`: `main` prints a returned error by `Debug`, and a newcomer reads it there.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl std::error::Error for Error {}

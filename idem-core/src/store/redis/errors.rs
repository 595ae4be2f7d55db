//! What Redis' errors mean to idem.

use std::io;

use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::store::StoreError;

/// Codes after which asking again may help: the server is starting, failing over, or cannot write just now.
const PASSING: [&str; 10] = [
    "LOADING",
    "READONLY",
    "CLUSTERDOWN",
    "MASTERDOWN",
    "TRYAGAIN",
    "MISCONF",
    "NOREPLICAS",
    "BUSY",
    "MOVED",
    "max number of clients",
];
/// Codes that only a change of the settings ends.
const SETTINGS: [&str; 6] = [
    "NOAUTH",
    "WRONGPASS",
    "NOPERM",
    "invalid password",
    "DB index is out of range",
    "SELECT is not allowed",
];

/// The error of one call to the server or servers named `at`.
pub(super) fn store_error(error: RedisError, at: &str) -> StoreError {
    let translated = match meaning(&error) {
        Meaning::Unreachable => StoreError::unavailable(format!("Redis at {at} is out of reach")),
        Meaning::Late => StoreError::unavailable(format!("Redis at {at} did not answer in time")),
        Meaning::Passing => StoreError::unavailable(format!("Redis at {at} cannot answer just now")),
        Meaning::Settings => StoreError::config(format!(
            "Redis at {at} does not let idem in: check password, user, permissions and database"
        )),
        Meaning::Certificate => StoreError::config(format!(
            "TLS to Redis at {at} failed: check the scheme, the server's certificate and `root_certificates`"
        )),
        Meaning::Memory => full(at),
        Meaning::Url => {
            StoreError::config(format!("the URL or the TLS settings for Redis at {at} are not valid"))
        }
        Meaning::Statement => StoreError::statement(format!("Redis at {at} refused idem's script")),
    };
    translated.with_source(error)
}

/// A call that had no answer in time.
pub(super) fn timed_out() -> RedisError {
    io::Error::new(io::ErrorKind::TimedOut, "no answer in time").into()
}

/// A server that has no memory for another record.
pub(super) fn full(at: &str) -> StoreError {
    StoreError::full(format!(
        "Redis at {at} has reached its maxmemory and, rightly, does not evict: give it more, or shorten the retention"
    ))
}

/// Whether the connection is of no more use: it is broken, or leads to a server that is no master any more.
pub(super) fn ends_connection(error: &RedisError) -> bool {
    error.is_unrecoverable_error() || error.is_timeout() || text(error).contains("READONLY")
}

/// Whether a connection that had been made was closed by the other end.
pub(super) fn broke_off(error: &RedisError) -> bool {
    error.is_connection_dropped() && !error.is_connection_refusal()
}

enum Meaning {
    Unreachable,
    Late,
    Passing,
    Settings,
    Certificate,
    Memory,
    Url,
    Statement,
}

fn meaning(error: &RedisError) -> Meaning {
    let text = text(error);
    let says = |codes: &[&str]| codes.iter().any(|code| text.contains(code));
    match error.kind() {
        ErrorKind::Io if error.is_timeout() => Meaning::Late,
        ErrorKind::Io if says(&["certificate", "InvalidContentType", "HandshakeFailure"]) => {
            Meaning::Certificate
        }
        ErrorKind::InvalidClientConfig => Meaning::Url,
        ErrorKind::Server(ServerErrorKind::NoPerm) => Meaning::Settings,
        ErrorKind::Server(
            ServerErrorKind::BusyLoading
            | ServerErrorKind::Moved
            | ServerErrorKind::Ask
            | ServerErrorKind::TryAgain
            | ServerErrorKind::ClusterDown
            | ServerErrorKind::MasterDown
            | ServerErrorKind::ReadOnly,
        ) => Meaning::Passing,
        _ if says(&SETTINGS) => Meaning::Settings,
        _ if says(&["OOM"]) => Meaning::Memory,
        _ if says(&PASSING) => Meaning::Passing,
        ErrorKind::AuthenticationFailed => Meaning::Settings,
        ErrorKind::Io
        | ErrorKind::Parse
        | ErrorKind::ClusterConnectionNotFound
        | ErrorKind::MasterNameNotFoundBySentinel => Meaning::Unreachable,
        _ => Meaning::Statement,
    }
}

/// Code and detail: an error that a script raised has its code inside of the text on Redis 6.
fn text(error: &RedisError) -> String {
    error.to_string()
}

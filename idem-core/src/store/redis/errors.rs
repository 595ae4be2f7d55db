//! The meaning of Redis' errors for idem.

use std::{fmt, io};

use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::store::StoreError;

/// The meaning of the server's words, in this order. A script on Redis 6 has the code inside of its error's text.
const WORDS: [(&str, RedisErrorMeaning); 25] = [
    ("unknown command", RedisErrorMeaning::Command),
    ("Unknown Redis command", RedisErrorMeaning::Command),
    ("NOAUTH", RedisErrorMeaning::Login),
    ("WRONGPASS", RedisErrorMeaning::Login),
    ("invalid password", RedisErrorMeaning::Login),
    ("DB index is out of range", RedisErrorMeaning::Database),
    ("SELECT is not allowed", RedisErrorMeaning::Database),
    ("NOPERM", RedisErrorMeaning::Rights),
    ("can't run this command", RedisErrorMeaning::Rights),
    ("can't access at least one of the keys", RedisErrorMeaning::Rights),
    ("READONLY", RedisErrorMeaning::ReadOnly),
    ("MISCONF", RedisErrorMeaning::Disk),
    ("NOREPLICAS", RedisErrorMeaning::Replicas),
    ("LOADING", RedisErrorMeaning::Loading),
    ("CLUSTERDOWN", RedisErrorMeaning::ClusterDown),
    ("MASTERDOWN", RedisErrorMeaning::MasterDown),
    ("BUSY", RedisErrorMeaning::Busy),
    ("max number of clients", RedisErrorMeaning::Clients),
    ("OOM", RedisErrorMeaning::Memory),
    ("TRYAGAIN", RedisErrorMeaning::Moving),
    ("MOVED", RedisErrorMeaning::Moving),
    ("ASK", RedisErrorMeaning::Moving),
    ("certificate", RedisErrorMeaning::Certificate),
    ("InvalidContentType", RedisErrorMeaning::Certificate),
    ("HandshakeFailure", RedisErrorMeaning::Certificate),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RedisErrorMeaning {
    Unreachable,
    Late,
    Command,
    Login,
    Database,
    Rights,
    ReadOnly,
    Disk,
    Replicas,
    Loading,
    ClusterDown,
    MasterDown,
    Busy,
    Clients,
    Moving,
    Certificate,
    Memory,
    Url,
    Statement,
}

impl RedisErrorMeaning {
    pub(super) fn of(error: &RedisError) -> Self {
        let text = text(error);
        let said = WORDS.iter().find(|(word, _)| text.contains(word)).map(|(_, meaning)| *meaning);
        match error.kind() {
            ErrorKind::Io if error.is_timeout() => Self::Late,
            ErrorKind::Io => said.filter(|said| *said == Self::Certificate).unwrap_or(Self::Unreachable),
            ErrorKind::InvalidClientConfig => Self::Url,
            ErrorKind::Server(ServerErrorKind::NoPerm) => Self::Rights,
            ErrorKind::Server(ServerErrorKind::ReadOnly) => Self::ReadOnly,
            ErrorKind::Server(ServerErrorKind::BusyLoading) => Self::Loading,
            ErrorKind::Server(ServerErrorKind::ClusterDown) => Self::ClusterDown,
            ErrorKind::Server(ServerErrorKind::MasterDown) => Self::MasterDown,
            ErrorKind::Server(ServerErrorKind::Moved | ServerErrorKind::Ask | ServerErrorKind::TryAgain) => {
                Self::Moving
            }
            kind => said.unwrap_or(match kind {
                ErrorKind::AuthenticationFailed => Self::Login,
                ErrorKind::Parse
                | ErrorKind::ClusterConnectionNotFound
                | ErrorKind::MasterNameNotFoundBySentinel => Self::Unreachable,
                _ => Self::Statement,
            }),
        }
    }

    /// The problem, and its remedy.
    fn text(self) -> &'static str {
        match self {
            Self::Unreachable => "is out of reach",
            Self::Late => "did not answer in time",
            Self::Command => {
                "does not know a command that idem runs: give it its name back where it was renamed or switched off \
                 (`rename-command`). idem runs EVAL, EVALSHA, GET, MGET, SET, SETRANGE, DEL, \
                 PEXPIRE and TIME, and CLUSTER SLOTS on a cluster"
            }
            Self::Login => "does not let idem in: check user and password",
            Self::Database => {
                "does not have the database of the URL: check its number; a cluster has 0 alone"
            }
            Self::Rights => {
                "does not let its user do what idem does: it needs EVAL, EVALSHA, GET, MGET, SET, SETRANGE, DEL, PEXPIRE and TIME, \
                 and CLUSTER SLOTS on a cluster, on all keys that begin with the store's prefix, and some more for its registry and \
                 for operators; such as `ACL SETUSER name \
                 ~idem:* +eval +evalsha +get +getrange +mget +set +setrange +del +pexpire +time \
                 +scan +hget +hset +hdel +hgetall +xadd +xrevrange +cluster|slots +info +ping`"
            }
            Self::ReadOnly => {
                "is a read-only replica: connect to the master, by its address or by `RedisStore::sentinel`"
            }
            Self::Disk => {
                "takes no writes, because it cannot save to its disk (MISCONF): its own log says why; make room there"
            }
            Self::Replicas => {
                "takes no writes, because too few of its replicas are connected (`min-replicas-to-write`)"
            }
            Self::Loading => "is loading its data from the disk, and answers when it has",
            Self::ClusterDown => "says that its cluster is down: a node with some of the slots is missing",
            Self::MasterDown => "is a replica that has lost its master",
            Self::Busy => "is busy with somebody's script",
            Self::Clients => "has as many clients as it takes (`maxclients`)",
            Self::Moving => "is moving the key's slot to another node",
            Self::Certificate => {
                "failed at TLS: check the scheme, the server's certificate and `root_certificates`"
            }
            Self::Memory => {
                "has reached its maxmemory and, rightly, does not evict: give it more, or shorten the retention"
            }
            Self::Url => "cannot be connected to: the URL or the TLS settings are not valid",
            Self::Statement => "refused idem's script",
        }
    }

    fn error(self, at: &str) -> StoreError {
        let text = format!("Redis at {at} {}", self.text());
        match self {
            Self::Command | Self::Login | Self::Database | Self::Rights | Self::Certificate | Self::Url => {
                StoreError::config(text)
            }
            Self::Memory => StoreError::full(text),
            Self::Statement => StoreError::statement(text),
            Self::Unreachable
            | Self::Late
            | Self::ReadOnly
            | Self::Disk
            | Self::Replicas
            | Self::Loading
            | Self::ClusterDown
            | Self::MasterDown
            | Self::Busy
            | Self::Clients
            | Self::Moving => StoreError::unavailable(text),
        }
    }
}

/// The error of one call to the server or servers named `at`.
#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` gives")]
pub(super) fn store_error(error: RedisError, at: &str) -> StoreError {
    RedisErrorMeaning::of(&error).error(at).with_source(RedisErrorText::of(&error))
}

/// A server that has no memory for another record.
pub(super) fn full(at: &str) -> StoreError {
    RedisErrorMeaning::Memory.error(at)
}

/// A call that had no answer in time.
pub(super) fn timed_out() -> RedisError {
    io::Error::new(io::ErrorKind::TimedOut, "no answer in time").into()
}

/// Whether the connection is of no more use: it is broken, or leads to a server that is no master any more.
pub(super) fn ends_connection(error: &RedisError) -> bool {
    error.is_unrecoverable_error()
        || error.is_timeout()
        || RedisErrorMeaning::of(error) == RedisErrorMeaning::ReadOnly
}

/// Whether a connection that had been made was closed by the other end.
pub(super) fn broke_off(error: &RedisError) -> bool {
    error.is_connection_dropped() && !error.is_connection_refusal()
}

/// The server's own words, without what may be a key: of a command that it does not know it quotes the arguments.
#[derive(Debug)]
struct RedisErrorText(String);

impl RedisErrorText {
    fn of(error: &RedisError) -> Self {
        Self(text(error))
    }
}

impl fmt::Display for RedisErrorText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for RedisErrorText {}

/// Code and detail, up to the arguments that a server quotes.
fn text(error: &RedisError) -> String {
    let text = error.to_string();
    match text.find("with args beginning with") {
        Some(end) => text[..end].trim_end_matches([' ', ',']).to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(reply: &str) -> StoreError {
        let value = redis::parse_redis_value(format!("-{reply}\r\n").as_bytes());
        store_error(value.and_then(redis::Value::extract_error).unwrap_err(), "host:1")
    }

    /// As Redis 6.2 and 7 say it.
    #[test]
    fn each_refusal_says_what_is_missing() {
        for (reply, says) in [
            ("ERR unknown command 'EVAL', with args beginning with: 'OOM' '1' 'idem:secret' ", "renamed"),
            ("ERR Unknown Redis command called from script script: f_0, on @user_script:1.", "renamed"),
            ("NOPERM this user has no permissions to run the 'evalsha' command", "ACL SETUSER"),
            ("NOPERM this user has no permissions to access one of the keys used as arguments", "prefix"),
            ("ERR The user executing the script can't run this command or subcommand", "ACL SETUSER"),
            ("WRONGPASS invalid username-password pair or user is disabled.", "user and password"),
            ("NOAUTH Authentication required.", "user and password"),
            ("ERR DB index is out of range", "number"),
        ] {
            let error = of(reply);
            assert!(error.is_config() && error.to_string().contains(says), "{reply}: {error}");
            assert!(!format!("{error:?}").contains("secret"), "{error:?}");
        }
        for (reply, says) in [
            ("READONLY You can't write against a read only replica.", "read-only replica"),
            ("ERR Error running script (call to f_0): @user_script:1: -READONLY You can't write", "replica"),
            ("MISCONF Redis is configured to save RDB snapshots, but it's currently unable", "MISCONF"),
            ("NOREPLICAS Not enough good replicas to write.", "min-replicas-to-write"),
            ("LOADING Redis is loading the dataset in memory", "loading"),
            ("CLUSTERDOWN The cluster is down", "cluster is down"),
            ("CLUSTERDOWN Hash slot not served", "cluster is down"),
            ("BUSY Redis is busy running a script.", "busy"),
            ("ERR max number of clients reached", "maxclients"),
        ] {
            let error = of(reply);
            assert!(error.is_unavailable() && error.to_string().contains(says), "{reply}: {error}");
        }
        assert!(of("OOM command not allowed when used memory > 'maxmemory'.").is_full());
        assert!(of("ERR something else").is_statement());
    }
}

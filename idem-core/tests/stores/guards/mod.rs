//! The guards on each database: the same cases, compiled for each, because they are generic for users and not for tests.
//!
//! Run alone: `cargo test -p idem-core --all-features --test stores -- guards::`

#![allow(clippy::duplicate_mod, reason = "the cases are one text for all databases")]

#[cfg(feature = "mysql")]
mod mysql;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;

/// The isolation of transactions from each other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Isolation {
    /// As the database comes.
    Default,
    ReadCommitted,
    RepeatableRead,
    Serializable,
}

impl Isolation {
    pub(crate) fn name(self) -> Option<&'static str> {
        match self {
            Self::Default => None,
            Self::ReadCommitted => Some("READ COMMITTED"),
            Self::RepeatableRead => Some("REPEATABLE READ"),
            Self::Serializable => Some("SERIALIZABLE"),
        }
    }
}

/// A name that no other test has, also of another run on the same server.
pub(crate) fn fresh_name() -> String {
    format!("guards_{:x}", rand::random::<u64>())
}

//! The dedup engine of idem: keys, leases, policies and stores.
//!
//! This crate names no type of RocketMQ. Users of RocketMQ depend on `idem-rocketmq` alone, which re-exports
//! what they need of it; authors of stores implement [`Store`] and run its conformance suite.

// Invariant: no sum of times overflows, whatever a user says; see `clock::Later` and clippy.toml.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

pub mod admin;
mod attempt;
pub mod clock;
mod doubt;
pub mod engine;
mod handler_error;
mod key;
mod keyed;
mod lease;
mod netstring;
pub mod outbox;
mod outcome;
pub mod panics;
mod policy;
mod record;
pub mod runtime;
#[cfg(test)]
mod sources;
#[cfg(any(feature = "postgres", feature = "mysql", feature = "sqlite"))]
pub mod sql;
pub mod store;

pub use attempt::Attempt;
pub use clock::Clock;
pub use doubt::{Doubt, DoubtCause, Happened, MemberId, MessageId};
pub use engine::{Engine, Gate, Job};
pub use handler_error::{Disposition, HandlerError, HandlerResult, Reject, ResultExt, Retry, Uncertain};
pub use key::{
    DisplayKey, Fingerprint, IdempotencyKey, KeyError, KeyPart, MAX_KEY_LEN, Namespace, RecordKey,
};
pub use keyed::{IntoKey, Keyed};
pub use lease::Lease;
pub use outcome::{Decision, Outcome, Verdict};
pub use policy::{
    ADVISED_RETENTION, Backoff, FingerprintMismatch, InProgress, MIN_LEASE, MissingKey, Policy, PolicyError,
    Settings, StoreFailure, UNLIMITED, UncertainRun, Undecodable,
};
pub use record::{Fence, LastRun, RECORD_VERSION, Record, RecordError, State, Token};
#[cfg(feature = "memory")]
pub use store::MemoryStore;
#[cfg(feature = "redis")]
pub use store::RedisStore;
#[cfg(feature = "mysql")]
pub use store::{MySqlOutbox, MySqlStore};
#[cfg(feature = "postgres")]
pub use store::{PostgresOutbox, PostgresStore};
#[cfg(feature = "sqlite")]
pub use store::{SqliteOutbox, SqliteStore};
pub use store::{Store, StoreError, TieredStore};

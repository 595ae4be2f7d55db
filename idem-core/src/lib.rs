//! The dedup engine of idem: keys, leases, policies and stores.
//!
//! This crate names no type of RocketMQ. Users of RocketMQ depend on `idem-rocketmq` alone, which re-exports
//! what they need of it; authors of stores implement [`Store`] and run its conformance suite.

mod clock;
mod handler_error;
mod key;
mod policy;
mod record;
#[cfg(any(feature = "redis", feature = "conformance"))]
mod runtime;
pub mod store;

pub use clock::Clock;
pub use handler_error::{Disposition, HandlerError, HandlerResult, Reject, ResultExt, Retry};
pub use key::{Fingerprint, IdempotencyKey, KeyError, KeyPart, MAX_KEY_LEN, Namespace, RecordKey};
pub use policy::{
    ADVISED_RETENTION, Backoff, FingerprintMismatch, InProgress, MIN_LEASE, MissingKey, Policy, PolicyError,
    Settings, StoreFailure, Undecodable,
};
pub use record::{Fence, RECORD_VERSION, Record, RecordError, State, Token};
#[cfg(feature = "memory")]
pub use store::MemoryStore;
#[cfg(feature = "redis")]
pub use store::RedisStore;
pub use store::{Store, StoreError};

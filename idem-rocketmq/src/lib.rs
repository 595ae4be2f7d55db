#![doc = include_str!("docs/crate.md")]
// Invariant: no sum of times overflows, whatever a user says; see `idem_core::clock::Later` and clippy.toml.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

// The macros' expansion names this crate, also in its own tests.
#[cfg(test)]
extern crate self as idem_rocketmq;

pub mod admin;
pub mod cluster;
pub mod codec;
pub mod consumer;
mod error;
pub mod extract;
pub mod guide;
pub mod handler;
pub mod key;
mod listener;
mod macros;
pub mod outbox;
pub mod prelude;
pub mod producer;
pub mod settings;
mod state;
pub mod testing;

#[doc(hidden)]
pub mod __private;

use idem_rocketmq_client as client;
#[cfg(feature = "embedded")]
#[doc(inline)]
pub use idem_rocketmq_embedded as embedded;

#[cfg(any(feature = "postgres", feature = "mysql", feature = "sqlite"))]
pub use idem_core::sql;
/// Stores, for those who choose one, write one or look into one.
pub use idem_core::store;

#[doc(inline)]
pub use idem_macros::idempotent;

pub use self::cluster::Cluster;
pub use self::consumer::{Consumer, RunningConsumer};
pub use self::error::Error;
pub use self::extract::Delivery;
pub use self::handler::{
    Batch, BatchFailures, BatchResult, HandlerError, HandlerResult, Reject, ResultExt, Retry, Route,
    Uncertain, batch_handler, handler,
};
pub use self::key::{IdempotencyKey, KeyPart, Keyed};
pub use self::producer::{Message, OutgoingMessage, Producer, SendError};
pub use self::settings::{Backoff, Settings};
#[cfg(feature = "mysql")]
pub use self::store::MySqlStore;
#[cfg(feature = "postgres")]
pub use self::store::PostgresStore;
#[cfg(feature = "redis")]
pub use self::store::RedisStore;
#[cfg(feature = "sqlite")]
pub use self::store::SqliteStore;
pub use self::store::{MemoryStore, TieredStore};

#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

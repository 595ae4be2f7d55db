#![doc = include_str!("docs/crate.md")]
// Invariant: no sum of times overflows, whatever a user says; see `idem_core::clock::Later` and clippy.toml.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

// The macros' expansion names this crate, also in its own tests.
#[cfg(test)]
extern crate self as idem_rocketmq;

mod cluster;
pub mod codec;
pub mod consumer;
mod error;
pub mod extract;
pub mod guide;
mod handler;
mod listener;
mod macros;
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

#[doc = include_str!("docs/errors.md")]
pub use idem_core::HandlerError;
#[doc = include_str!("docs/keys.md")]
pub use idem_core::IdempotencyKey;
pub use idem_core::{
    Backoff, DisplayKey, Disposition, Fence, HandlerResult, IntoKey, KeyError, KeyPart, Keyed, Lease, Reject,
    ResultExt, Retry, Settings, Token, UNLIMITED,
};
#[doc(inline)]
pub use idem_macros::{IdempotencyKey, KeyPart, Message, idempotent};

#[cfg(feature = "redis")]
pub use idem_core::RedisStore;
/// What outboxes are made of.
pub use idem_core::outbox;
#[cfg(any(feature = "postgres", feature = "mysql", feature = "sqlite"))]
pub use idem_core::sql;
/// What stores are made of, for authors of stores and for operators.
pub use idem_core::store;
pub use idem_core::{Decision, MemoryStore, Outcome, Store, StoreError, TieredStore, Verdict};
#[cfg(feature = "mysql")]
pub use idem_core::{MySqlOutbox, MySqlStore};
#[cfg(feature = "postgres")]
pub use idem_core::{PostgresOutbox, PostgresStore};
#[cfg(feature = "sqlite")]
pub use idem_core::{SqliteOutbox, SqliteStore};

/// The future of a hand-written [`Handler`].
pub use futures_util::future::BoxFuture;

pub use self::consumer::{ConsumeFrom, Consumer, Credentials, DelayBy, MessageTrace, RunningConsumer, Tls};
pub use self::error::Error;
pub use self::handler::{
    Batch, BatchCall, BatchFailures, BatchHandler, BatchItem, BatchResult, BatchReturn, Call, FromBatch,
    Handler, HandlerReturn, IntoRoute, KeySource, LONGEST_BATCH, Needs, Route, RouteError, Unkeyed,
    batch_handler, batch_handler_with, handler, handler_with,
};
pub use self::producer::{
    Message, MessageFault, NoOutbox, OutboxError, OutgoingMessage, Producer, ProducerBuilder, SendAllError,
    SendError, Sent, TransactionError, TransactionState,
};
pub use self::state::{MissingState, States};
#[doc = include_str!("docs/cluster.md")]
pub use idem_rocketmq_client::Cluster;
pub use idem_rocketmq_client::{Delivery, DeliveryBuilder};

#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

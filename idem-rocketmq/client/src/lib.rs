//! The RocketMQ client, as `idem-rocketmq` takes it.
//!
//! This crate is no public API: depend on `idem-rocketmq`, which gives out of it what users need.
//!
//! Two rules hold here. No function that others await is generic or gives out an unboxed future of the client, so that
//! nobody else compiles the client's code again. And the client never runs on the user's runtime: each [`Client`] has a
//! thread and a runtime of its own, so that a blocked or finished user runtime cannot leave a consumer half alive.

// The client's types are so deep that proving them `Send` needs more than the default of 128. They stay inside of
// this crate, so that no other one needs such a line.
#![recursion_limit = "256"]
// Invariant: no sum of times overflows, whatever a user says; see `idem_core::clock::Later` and clippy.toml.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]
#![allow(
    missing_docs,
    reason = "what users see of this crate has its documentation; the rest is for idem-rocketmq alone"
)]

mod body;
mod by_hand;
mod cluster;
mod config;
mod consumer;
mod credentials;
mod delay;
mod delivery;
mod embedded;
mod error;
mod hook;
mod message;
pub mod names;
mod opaque;
mod preflight;
mod probe;
mod producer;
mod properties;
mod pulled;
mod received;
mod runtime;
mod settings;
mod thread;
mod tls;
mod versions;

pub use body::LARGEST as LARGEST_BODY;
pub use body::stored as stored_body;
#[doc(hidden)]
pub use by_hand::{copied, received};
pub use cluster::{Cluster, check_addresses};
pub use consumer::{Client, ConsumeStatus, Listener, Queues};
pub use consumer::{CopyExtent, CopyPurpose, LONGEST_TIMER, PROPERTIES_BYTES, Retry};
pub use credentials::{Credentials, check_credentials};
pub use delay::{DelayBy, Levels};
pub use delivery::{Delivery, DeliveryBuilder};
pub use embedded::{Adoption, is_embedded, keep_locks};
pub use error::{ClientError, text};
pub use message::{begun, delivery};
pub use producer::{
    CheckBack, CheckBackReply, Delay, HalfMessage, Placement, ProducerClient, SendFailure, WireMessage, place,
};
pub use properties::{ATTEMPTS, DUE, KEY, OUTCOME, REASON};
pub use received::{Queue, Received};
pub use runtime::own_runtime;
pub use settings::{ClientSettings, Expression, LISTENER_THREADS, Mode, ProducerSettings, SPAN};
pub use settings::{ConsumeFrom, MessageTrace};
pub use tls::Tls;

pub use rocketmq_client_rust::LocalTransactionState;

//! idem: an idempotent consumer framework for Apache RocketMQ.

// The macros' expansion names this crate, also in its own tests.
#[cfg(test)]
extern crate self as idem_rocketmq;

pub mod codec;
mod delivery;
pub mod extract;
#[cfg_attr(not(test), expect(dead_code, reason = "the consumer will use it"))]
mod handler;
mod macros;
pub mod prelude;
#[cfg_attr(not(test), expect(dead_code, reason = "the consumer will use it"))]
mod state;

#[doc(hidden)]
pub mod __private;

#[doc = include_str!("docs/errors.md")]
pub use idem_core::HandlerError;
#[doc = include_str!("docs/keys.md")]
pub use idem_core::IdempotencyKey;
pub use idem_core::{
    Backoff, Disposition, Fence, FingerprintMismatch, HandlerResult, InProgress, IntoKey, KeyError, KeyPart,
    Keyed, Lease, MissingKey, Reject, ResultExt, Retry, Settings, StoreFailure, Token, Undecodable,
};
#[doc(inline)]
pub use idem_macros::{IdempotencyKey, idempotent};

/// The future of a hand-written [`Handler`].
pub use futures_util::future::BoxFuture;

pub use self::delivery::{Delivery, DeliveryBuilder};
pub use self::handler::{
    Call, Handler, HandlerReturn, IntoRoute, KeySource, Needs, Route, RouteError, Unkeyed, handler,
    handler_with,
};
pub use self::state::{MissingState, States};

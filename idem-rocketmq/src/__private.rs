//! What the macros' expansions name. No part of the public API.

pub use futures_util::future::BoxFuture;
pub use idem_core::{
    Backoff, FingerprintMismatch, HandlerResult, IdempotencyKey, InProgress, IntoKey, KeyError, KeyPart,
    Keyed, MissingKey, StoreFailure, UNLIMITED, Undecodable,
};
pub use idem_macros::handlers;
pub use std::time::Duration;
pub use std::vec::Vec;

pub use crate::codec::{Pick, PickJson};
pub use crate::extract::Extract;
pub use crate::handler::{Call, Handler, HandlerReturn, KeySource, Needs, Route, Routed, handler_with};
pub use crate::producer::{Message, OutgoingMessage};

/// Boxes a handler's future, which must be `Send`.
pub fn boxed<'d>(future: impl Future<Output = HandlerResult> + Send + 'd) -> BoxFuture<'d, HandlerResult> {
    Box::pin(future)
}

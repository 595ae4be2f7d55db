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
pub use crate::extract::{BatchExtract, Extract};
pub use crate::handler::{
    Batch, BatchCall, BatchHandler, BatchResult, BatchReturn, Call, FromBatch, Handler, HandlerReturn,
    KeySource, Needs, Route, Routed, WithoutIdempotent, batch_handler_with, handler_with,
};
pub use crate::producer::{Message, OutgoingMessage};

/// Boxes a handler's future, which must be `Send`.
pub fn boxed<'d, T>(future: impl Future<Output = T> + Send + 'd) -> BoxFuture<'d, T> {
    Box::pin(future)
}

//! Names for the macros' expansions. No part of the public API.

use std::ops::Deref;

pub use futures_util::future::BoxFuture;
pub use idem_core::{
    Backoff, FingerprintMismatch, HandlerResult, IdempotencyKey, InProgress, IntoKey, KeyError, KeyPart,
    Keyed, MissingKey, StoreFailure, UNLIMITED, UncertainRun, Undecodable,
};
pub use idem_macros::handlers;
pub use std::borrow::Cow;
pub use std::time::Duration;
pub use std::vec::Vec;

pub use crate::codec::{Pick, PickJson};
pub use crate::extract::{BatchExtract, Extract};
pub use crate::handler::route::{Routed, WithoutIdempotent};
pub use crate::handler::{
    Batch, BatchCall, BatchHandler, BatchResult, BatchReturn, Call, FromBatch, Handler, HandlerReturn,
    KeySource, Needs, Route, batch_handler_with, handler_with,
};
pub use crate::producer::{Message, OutgoingMessage};

/// Calls a closure with the payload that it is about, so that it need not name the payload's type.
pub fn computed<'a, P, K>(payload: &'a P, key: impl FnOnce(&'a P) -> K) -> K {
    key(payload)
}

/// A field on the way to a part of a key: one that is an `Option` leads to an `Option` of the part.
///
/// The method of `Through<Option<T>>` is found before that of what every `Through` leads to.
#[derive(Debug)]
pub struct Through<'a, T>(Straight<'a, T>);

impl<'a, T> Through<'a, T> {
    pub fn new(field: &'a T) -> Self {
        Self(Straight(field))
    }
}

impl<'a, T> Through<'a, Option<T>> {
    pub fn then<R>(&self, field: impl FnOnce(&'a T) -> R) -> Option<R> {
        self.0.0.as_ref().map(field)
    }
}

impl<'a, T> Deref for Through<'a, T> {
    type Target = Straight<'a, T>;

    fn deref(&self) -> &Straight<'a, T> {
        &self.0
    }
}

#[derive(Debug)]
pub struct Straight<'a, T>(&'a T);

impl<'a, T> Straight<'a, T> {
    pub fn then<R>(&self, field: impl FnOnce(&'a T) -> R) -> R {
        field(self.0)
    }
}

/// A message that has its own key: [`Keyed`], with the words of messages where it is missing.
#[diagnostic::on_unimplemented(
    message = "the message has no idempotency key: `{Self}` does not bring one",
    label = "which field is the same when the message is sent again?",
    note = "name it in the attribute: `#[message(key = \"order_id\", ..)]`, or `key_with = path::to::function`",
    note = "or give the type its own: `#[derive(IdempotencyKey)]` with `#[idempotency_key]` on the field"
)]
pub trait MessageKey {
    fn message_key(&self) -> Result<IdempotencyKey, KeyError>;
}

#[diagnostic::do_not_recommend]
impl<T: Keyed + ?Sized> MessageKey for T {
    fn message_key(&self) -> Result<IdempotencyKey, KeyError> {
        self.idempotency_key()
    }
}

/// A value of `backoff = expression`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a backoff",
    label = "neither a `Duration` nor a `Backoff`",
    note = "write `backoff = \"10s\"`, or an expression that gives a `std::time::Duration` or an `idem_rocketmq::Backoff`"
)]
pub trait IntoBackoff {
    fn into_backoff(self) -> Backoff;
}

impl IntoBackoff for Backoff {
    fn into_backoff(self) -> Backoff {
        self
    }
}

impl IntoBackoff for Duration {
    fn into_backoff(self) -> Backoff {
        Backoff::fixed(self)
    }
}

/// The tags that `tags = expression` gives. A list without any would take all messages, which nobody says so: it is a tag
/// without a name, which a start refuses.
pub fn tags<T: AsRef<str>>(tags: impl IntoIterator<Item = T>) -> Vec<String> {
    let mut tags: Vec<_> = tags.into_iter().map(|tag| tag.as_ref().to_owned()).collect();
    if tags.is_empty() {
        tags.push(String::new());
    }
    tags
}

/// Boxes a handler's future, which must be `Send`.
pub fn boxed<'d, T>(future: impl Future<Output = T> + Send + 'd) -> BoxFuture<'d, T> {
    Box::pin(future)
}

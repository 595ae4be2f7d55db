//! Idempotency keys: messages with the same key are the same work.

#[doc = include_str!("docs/keys.md")]
pub use idem_core::IdempotencyKey;
pub use idem_core::{DisplayKey, IntoKey, KeyError, KeyPart, Keyed};
#[doc(inline)]
pub use idem_macros::{IdempotencyKey, KeyPart};

//! The sources of an idempotency key: values, and payloads that know their own.

use crate::key::{IdempotencyKey, KeyError, KeyPart};

/// A payload that knows its own idempotency key.
///
/// Derive it with `#[derive(IdempotencyKey)]` and mark the fields with `#[idempotency_key]`; they become the
/// key's parts in the order in which they are declared.
#[diagnostic::on_unimplemented(
    message = "the handler has no idempotency key: `{Self}` does not bring one",
    label = "which field of this payload is the key?",
    note = "name it in the attribute: `#[idempotent(key = \"order_id\", ..)]`, or `key_with = path::to::function`, or `key_from = message_keys`",
    note = "or give the payload its own: `#[derive(IdempotencyKey)]` with `#[idempotency_key]` on the field"
)]
pub trait Keyed {
    /// The key of this payload.
    ///
    /// # Errors
    /// A part of the key is missing or empty, or all together are too long.
    fn idempotency_key(&self) -> Result<IdempotencyKey, KeyError>;
}

/// A value that a function which computes keys may return: one [`KeyPart`], a tuple of up to six of them, an
/// [`IdempotencyKey`], or a `Result` of it.
///
/// ```
/// use idem_core::{IdempotencyKey, IntoKey};
///
/// let composite = ("tenant-a", 7).into_key()?;
/// assert_eq!(composite, IdempotencyKey::from_parts(&[&"tenant-a", &7])?);
/// assert_eq!("order-7".into_key()?, IdempotencyKey::new("order-7")?);
/// # Ok::<(), idem_core::KeyError>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an idempotency key",
    label = "not a key",
    note = "return a string, an integer, bytes, `Option` of them, `DisplayKey(value)` for a type of another crate, a tuple of such parts, or an `IdempotencyKey`; a float cannot be one, because equal amounts may differ in their bits"
)]
pub trait IntoKey {
    /// The key.
    ///
    /// # Errors
    /// A part of the key is missing or empty, or all together are too long.
    fn into_key(self) -> Result<IdempotencyKey, KeyError>;
}

#[diagnostic::do_not_recommend]
impl<T: KeyPart> IntoKey for T {
    fn into_key(self) -> Result<IdempotencyKey, KeyError> {
        IdempotencyKey::new(self)
    }
}

impl IntoKey for IdempotencyKey {
    fn into_key(self) -> Result<IdempotencyKey, KeyError> {
        Ok(self)
    }
}

impl IntoKey for Result<IdempotencyKey, KeyError> {
    fn into_key(self) -> Result<IdempotencyKey, KeyError> {
        self
    }
}

macro_rules! tuples {
    ($($ty:ident)*) => {
        #[diagnostic::do_not_recommend]
        impl<$($ty: KeyPart),*> IntoKey for ($($ty,)*) {
            #[expect(non_snake_case, reason = "each part is named after its type")]
            fn into_key(self) -> Result<IdempotencyKey, KeyError> {
                let ($($ty,)*) = self;
                IdempotencyKey::from_parts(&[$(&$ty),*])
            }
        }
    };
}

tuples! { A B }
tuples! { A B C }
tuples! { A B C D }
tuples! { A B C D E }
tuples! { A B C D E F }

//! The values that a key can be made of.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::{
    NonZeroI8, NonZeroI16, NonZeroI32, NonZeroI64, NonZeroI128, NonZeroIsize, NonZeroU8, NonZeroU16,
    NonZeroU32, NonZeroU64, NonZeroU128, NonZeroUsize,
};
use std::rc::Rc;
use std::sync::Arc;

/// A value that can be one part of an idempotency key.
///
/// Implemented for strings, integers (also those that are never zero), `bool`, `char`, bytes, IP addresses and, with the
/// feature `uuid`, `Uuid`; for what owns or lends one of them (`Box`, `Rc`, `Arc`, `Cow`, references), and for `Option` of
/// them, where `None` is the error [`KeyError::Missing`](crate::KeyError::Missing) and not a key of its own.
///
/// For a type of your own, implement it; `idem_rocketmq` has a derive of the same name for a tuple struct with one field. A type of another crate is a part as [`DisplayKey`], in a function that computes the
/// key. A float is not a part: equal amounts may differ in their bits.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be part of an idempotency key",
    label = "not a key part",
    note = "key parts are strings, integers, `bool`, `char`, bytes, IP addresses, `Uuid` with the feature `uuid`, and `Option`, `Box`, `Arc` or `Cow` of them; a float cannot be one, because equal amounts may differ in their bits",
    note = "for a type of your own with one field, such as `struct OrderId(u64);`, write `#[derive(idem_rocketmq::KeyPart)]`; for any other, implement `KeyPart`",
    note = "for a type of another crate, compute the key: `key_with = key_of` with `fn key_of(payload: &Payload) -> DisplayKey<&Type> {{ DisplayKey(&payload.field) }}`"
)]
pub trait KeyPart {
    /// The bytes of this part; `None` where the value is absent.
    fn key_part(&self) -> Option<Cow<'_, [u8]>>;
}

impl<T: KeyPart + ?Sized> KeyPart for &T {
    fn key_part(&self) -> Option<Cow<'_, [u8]>> {
        (**self).key_part()
    }
}

macro_rules! owned_parts {
    ($($owner:ident)*) => {$(
        impl<T: KeyPart + ?Sized> KeyPart for $owner<T> {
            fn key_part(&self) -> Option<Cow<'_, [u8]>> {
                (**self).key_part()
            }
        }
    )*};
}

owned_parts! { Box Rc Arc }

impl<T: KeyPart + ToOwned + ?Sized> KeyPart for Cow<'_, T> {
    fn key_part(&self) -> Option<Cow<'_, [u8]>> {
        (**self).key_part()
    }
}

impl<T: KeyPart> KeyPart for Option<T> {
    fn key_part(&self) -> Option<Cow<'_, [u8]>> {
        self.as_ref().and_then(KeyPart::key_part)
    }
}

macro_rules! borrowed_parts {
    ($method:ident: $($ty:ty),*) => {$(
        impl KeyPart for $ty {
            fn key_part(&self) -> Option<Cow<'_, [u8]>> {
                Some(Cow::Borrowed(self.$method()))
            }
        }
    )*};
}

borrowed_parts! { as_bytes: str, String }
borrowed_parts! { as_ref: [u8], Vec<u8>, bytes::Bytes }

impl<const N: usize> KeyPart for [u8; N] {
    fn key_part(&self) -> Option<Cow<'_, [u8]>> {
        Some(Cow::Borrowed(self))
    }
}

macro_rules! displayed_parts {
    ($($ty:ty)*) => {$(
        impl KeyPart for $ty {
            fn key_part(&self) -> Option<Cow<'_, [u8]>> {
                Some(Cow::Owned(self.to_string().into_bytes()))
            }
        }
    )*};
}

displayed_parts! { u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize bool char }
displayed_parts! { NonZeroU8 NonZeroU16 NonZeroU32 NonZeroU64 NonZeroU128 NonZeroUsize }
displayed_parts! { NonZeroI8 NonZeroI16 NonZeroI32 NonZeroI64 NonZeroI128 NonZeroIsize }
displayed_parts! { IpAddr Ipv4Addr Ipv6Addr }
// As text with hyphens, in lower case.
#[cfg(feature = "uuid")]
displayed_parts! { uuid::Uuid }

/// A value of any type as the part of a key that its `Display` gives, for types of other crates.
///
/// Equal values must have equal texts, and different ones different texts, also in the next version of that crate: a text that
/// changes makes a known message new. Floats, and decimals that keep their zeros (`1.5` and `1.50`), are bad parts.
///
/// ```
/// use idem_core::{DisplayKey, IdempotencyKey};
///
/// let from: std::net::SocketAddr = "127.0.0.1:9876".parse().unwrap();
/// let key = IdempotencyKey::from_parts(&[&DisplayKey(from), &"order-7"])?;
/// assert_eq!(key, IdempotencyKey::from_parts(&[&"127.0.0.1:9876", &"order-7"])?);
/// # Ok::<(), idem_core::KeyError>(())
/// ```
///
/// In a function for `key_with`, it borrows:
///
/// ```
/// # use idem_core::{DisplayKey, IdempotencyKey, IntoKey};
/// # struct Order { from: std::net::SocketAddr }
/// fn key_of(order: &Order) -> DisplayKey<&std::net::SocketAddr> {
///     DisplayKey(&order.from)
/// }
/// # let order = Order { from: "127.0.0.1:9876".parse().unwrap() };
/// # assert_eq!(key_of(&order).into_key(), IdempotencyKey::new("127.0.0.1:9876"));
/// ```
#[derive(Clone, Copy)]
pub struct DisplayKey<T>(pub T);

impl<T: fmt::Display> KeyPart for DisplayKey<T> {
    fn key_part(&self) -> Option<Cow<'_, [u8]>> {
        Some(Cow::Owned(self.0.to_string().into_bytes()))
    }
}

/// Shows no part of a key.
impl<T> fmt::Debug for DisplayKey<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DisplayKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{IdempotencyKey, KeyError};

    /// Another text for a value makes each message that is known by it new.
    #[test]
    fn each_type_of_a_part_has_the_text_that_it_had() {
        let one: Ipv4Addr = "10.0.0.1".parse().unwrap();
        let six: Ipv6Addr = "2001:DB8:0:0::A".parse().unwrap();
        let cow = Cow::Borrowed("order-7");
        let shared: Arc<str> = "order-7".into();
        let parts: [(&dyn KeyPart, &str); 22] = [
            (&"order-7", "order-7"),
            (&String::from("order-7"), "order-7"),
            (&&"order-7", "order-7"),
            (&cow, "order-7"),
            (&Cow::<str>::Owned("order-7".to_owned()), "order-7"),
            (&shared, "order-7"),
            (&Rc::<str>::from("order-7"), "order-7"),
            (&Box::<str>::from("order-7"), "order-7"),
            (&Arc::new(7_u64), "7"),
            (&Box::new(Some("order-7")), "order-7"),
            (&Some(7), "7"),
            (&b"order-7", "order-7"),
            (&bytes::Bytes::from_static(b"order-7"), "order-7"),
            (&'é', "é"),
            (&true, "true"),
            (&u128::MAX, "340282366920938463463374607431768211455"),
            (&i128::MIN, "-170141183460469231731687303715884105728"),
            (&NonZeroU64::MIN, "1"),
            (&NonZeroI8::MIN, "-128"),
            (&IpAddr::V4(one), "10.0.0.1"),
            (&six, "2001:db8::a"),
            (&DisplayKey(&1.5), "1.5"),
        ];
        for (part, text) in parts {
            assert_eq!(part.key_part().as_deref(), Some(text.as_bytes()));
        }
        assert_eq!(IdempotencyKey::new(Arc::new(None::<u8>)), Err(KeyError::Missing { part: 1 }));
        assert_eq!(IdempotencyKey::new(DisplayKey("")), Err(KeyError::Empty { part: 1 }));
        assert_eq!(format!("{:?}", DisplayKey("secret")), "DisplayKey(..)");
    }

    /// So a field may become a `Uuid` where it was text.
    #[cfg(feature = "uuid")]
    #[test]
    fn a_uuid_is_its_text_in_lower_case() {
        let text = "67e55044-10b1-426f-9247-bb680e5fe0c8";
        let id: uuid::Uuid = text.to_uppercase().parse().unwrap();
        assert_eq!(IdempotencyKey::new(id), IdempotencyKey::new(text));
    }
}

//! From a message's body to a payload, and back.

use std::error::Error as StdError;
use std::fmt;

pub use bytes::Bytes;
pub use idem_core::Fingerprint;

pub use self::encode::{Encode, EncodeError};
pub use self::json::Json;

mod encode;
mod json;

/// Makes a payload of a message's body.
///
/// [`Json`] is the default; [`Raw`] and [`Text`] are there for `Bytes` and `String`. A codec of your own is a
/// value of any type that implements this, given to `codec = path` or to
/// [`handler_with`](crate::handler::handler_with). A type that chooses its codec by itself implements [`Payload`].
#[diagnostic::on_unimplemented(
    message = "the codec `{Self}` cannot decode the payload `{T}`",
    label = "cannot be decoded with `{Self}`",
    note = "for `Json`, derive `serde::Deserialize` for the payload; for bytes or text, take `Bytes` or `String`",
    note = "for another format, write `codec = path::to::codec` or implement `Payload` for the type"
)]
pub trait Codec<T>: Send + Sync + 'static {
    /// Decodes a body.
    ///
    /// # Errors
    /// The body is not what the codec expects. The error's text goes to logs and dead letters: keep the
    /// payload's content out of it.
    fn decode(&self, body: &Bytes) -> Result<T, DecodeError>;

    /// A digest of what a body means, by which a handler with `fingerprint` sees that a known key comes with another payload.
    /// It is asked for by such a handler alone, and for bodies that decode.
    ///
    /// As it comes, it is a digest of the bytes. A codec whose format has several ways to write one payload should give all of
    /// them one digest; records keep it, so that it must not change between versions.
    fn fingerprint(&self, body: &Bytes) -> Fingerprint {
        Fingerprint::of(body)
    }
}

/// A payload that chooses its own codec.
///
/// A type with `Deserialize` that does not implement this is JSON.
///
/// ```
/// use idem_rocketmq::codec::{Codec, DecodeError, Payload};
/// use bytes::Bytes;
///
/// struct Amount(u64);
///
/// #[derive(Default)]
/// struct BigEndian;
///
/// impl Codec<Amount> for BigEndian {
///     fn decode(&self, body: &Bytes) -> Result<Amount, DecodeError> {
///         let bytes = body.as_ref().try_into().map_err(|_| DecodeError::new("not 8 bytes"))?;
///         Ok(Amount(u64::from_be_bytes(bytes)))
///     }
/// }
///
/// impl Payload for Amount {
///     type Codec = BigEndian;
/// }
/// ```
pub trait Payload: Sized {
    /// The codec of this type.
    type Codec: Codec<Self> + Default;
}

/// The body as it is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Raw;

/// UTF-8 text.
#[derive(Debug, Clone, Copy, Default)]
pub struct Text;

impl Codec<Bytes> for Raw {
    fn decode(&self, body: &Bytes) -> Result<Bytes, DecodeError> {
        Ok(body.clone())
    }
}

impl Codec<String> for Text {
    fn decode(&self, body: &Bytes) -> Result<String, DecodeError> {
        let text = std::str::from_utf8(body);
        text.map(str::to_owned).map_err(|error| DecodeError::new(format!("the body is no text: {error}")))
    }
}

impl Payload for Bytes {
    type Codec = Raw;
}

impl Payload for String {
    type Codec = Text;
}

/// A body that does not decode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodeError(String);

impl DecodeError {
    /// An error with this text, which goes to logs and dead letters: keep the payload's content out of it.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl StdError for DecodeError {}

/// How an expansion, which knows the payload's type, picks its codec: this inherent function where the type
/// implements [`Payload`], else the function of [`PickJson`].
#[doc(hidden)]
#[derive(Debug)]
pub struct Pick<T>(std::marker::PhantomData<T>);

impl<T: Payload> Pick<T> {
    pub fn codec() -> T::Codec {
        T::Codec::default()
    }
}

/// By another name, which the attribute cannot see through.
impl<T> Pick<Vec<T>> {
    pub fn codec() -> Json
    where
        Vec<T>: OneMessage,
    {
        Json
    }
}

/// A payload that is one message; no `Vec` is one unless its codec is named.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "`{Self}` is many messages or one",
    label = "many messages, or one?",
    note = "to handle many at once, write it as `Vec<..>` and add `batch` to the attribute",
    note = "for one message, say how it is decoded, such as `codec = Json` for an array"
)]
pub trait OneMessage {}

#[doc(hidden)]
pub trait PickJson {
    fn codec() -> Json;
}

impl<T> PickJson for Pick<T> {
    fn codec() -> Json {
        Json
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    struct Parcel {
        #[allow(dead_code)]
        id: u8,
    }

    #[test]
    fn an_error_of_text_never_has_the_content() {
        let result: Result<String, _> = Text.decode(&Bytes::from_static(b"secret\xff"));
        assert!(!result.unwrap_err().to_string().contains("secret"));
    }

    #[test]
    fn no_bytes_panic() {
        let deep = "[".repeat(100_000);
        for body in [&b""[..], b"\0", b"\xff\xfe", b"nul", b"1e999999", deep.as_bytes()] {
            let body = Bytes::copy_from_slice(body);
            assert!(Codec::<Vec<Parcel>>::decode(&Json, &body).is_err());
            let _ = Codec::<serde_json::Value>::decode(&Json, &body);
            let _ = Text.decode(&body);
        }
    }

    #[test]
    fn a_type_picks_its_codec() {
        let _: Raw = Pick::<Bytes>::codec();
        let _: Text = Pick::<String>::codec();
        let _: Json = Pick::<Parcel>::codec();
    }
}

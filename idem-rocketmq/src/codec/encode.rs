//! From a payload to a message's body.

use std::error::Error as StdError;
use std::fmt;

use bytes::Bytes;
use serde::Serialize;

use super::{Json, Raw, Text};

/// Makes a message's body of a payload: what a producer needs of a codec.
///
/// ```
/// use idem_rocketmq::codec::{Encode, EncodeError};
/// use bytes::Bytes;
///
/// struct Amount(u64);
///
/// struct BigEndian;
///
/// impl Encode<Amount> for BigEndian {
///     fn encode(&self, amount: &Amount) -> Result<Bytes, EncodeError> {
///         Ok(Bytes::copy_from_slice(&amount.0.to_be_bytes()))
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "the codec `{Self}` cannot encode the payload `{T}`",
    label = "cannot be encoded with `{Self}`",
    note = "for `Json`, derive `serde::Serialize` for the payload",
    note = "for another format, write `codec = path::to::codec` or implement `Encode` for the payload's codec"
)]
pub trait Encode<T: ?Sized> {
    /// Encodes a payload.
    ///
    /// # Errors
    /// The payload has no form in this format. The error's text goes to logs: keep the payload's content out of
    /// it.
    fn encode(&self, payload: &T) -> Result<Bytes, EncodeError>;
}

#[diagnostic::do_not_recommend]
impl<T: Serialize + ?Sized> Encode<T> for Json {
    fn encode(&self, payload: &T) -> Result<Bytes, EncodeError> {
        let body = serde_json::to_vec(payload);
        // serde's own message may quote a value.
        body.map(Bytes::from).map_err(|_| EncodeError::new("the payload has no form in JSON"))
    }
}

impl Encode<Bytes> for Raw {
    fn encode(&self, payload: &Bytes) -> Result<Bytes, EncodeError> {
        Ok(payload.clone())
    }
}

impl Encode<String> for Text {
    fn encode(&self, payload: &String) -> Result<Bytes, EncodeError> {
        Ok(Bytes::copy_from_slice(payload.as_bytes()))
    }
}

/// A payload that cannot be encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodeError(String);

impl EncodeError {
    /// An error with this text, which goes to logs: keep the payload's content out of it.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl StdError for EncodeError {}

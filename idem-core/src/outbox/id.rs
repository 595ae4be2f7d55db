//! The id of a transaction.

use std::fmt;
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

/// The id of one local transaction of a producer, which its marker and its message carry: 16 bytes, the first of which are
/// the time, so that markers made one after the other are stored side by side.
///
/// It is not the idempotency key, because one key can have several tries: the failure of one must not speak for the others.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TransactionId([u8; 16]);

impl TransactionId {
    /// A new one.
    pub fn random() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let millis = u64::try_from(since.as_millis()).unwrap_or_default().to_be_bytes();
        let mut bytes: [u8; 16] = rand::random();
        bytes[..6].copy_from_slice(&millis[2..]);
        Self(bytes)
    }

    /// As it is stored.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0
    }

    /// The id of the bytes that [`to_bytes`](Self::to_bytes) gave.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

/// 32 hexadecimal digits.
impl fmt::Display for TransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for TransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for TransactionId {
    type Err = NoTransactionId;

    fn from_str(text: &str) -> Result<Self, NoTransactionId> {
        let digits = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = u128::from_str_radix(text, 16).ok().filter(|_| digits);
        number.map(|number| Self(number.to_be_bytes())).ok_or(NoTransactionId)
    }
}

/// A text that is not the id of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the text is not a transaction's id, which has 32 hexadecimal digits")]
pub struct NoTransactionId;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_survives_as_text() {
        let id = TransactionId::random();
        assert_eq!(id.to_string().parse(), Ok(id));
        for text in ["", "7", "+0000000000000000000000000000000", "zz000000000000000000000000000000"] {
            assert_eq!(text.parse::<TransactionId>(), Err(NoTransactionId), "{text}");
        }
    }

    #[test]
    fn later_ids_are_greater() {
        let first = TransactionId::random();
        std::thread::sleep(std::time::Duration::from_millis(2));
        assert!(first < TransactionId::random());
    }
}

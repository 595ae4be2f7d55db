//! Idem's properties of a message: the idempotency key as text, also in RocketMQ's Keys, and the local transaction.

use std::fmt::Write as _;

use idem_core::outbox::TransactionId;
use idem_core::{IdempotencyKey, KeyError};

use crate::client::Delivery;

/// The property that idem's producer writes a message's idempotency key to.
pub(crate) const PRODUCER_KEY: &str = "IDEM_PRODUCER_KEY";

/// The property by which a message names its local transaction.
pub(super) const TRANSACTION: &str = "IDEM_TRANSACTION";

/// The local transaction that a message belongs to, if its marker decides over it.
pub(super) fn transaction_of(message: &Delivery) -> Option<TransactionId> {
    message.property(TRANSACTION)?.parse().ok()
}

/// The whole key, in visible ASCII: `7:order-7,`, other bytes as `%` and two digits.
pub(crate) fn encode(key: &IdempotencyKey) -> String {
    escape(key.as_bytes())
}

/// Decodes the text that [`encode`] wrote.
pub(crate) fn decode(text: &str) -> Result<IdempotencyKey, KeyError> {
    let bytes = unescape(text).ok_or(KeyError::Malformed)?;
    let parts = parts(&bytes).ok_or(KeyError::Malformed)?;
    let parts: Vec<&dyn idem_core::KeyPart> =
        parts.iter().map(|part| part as &dyn idem_core::KeyPart).collect();
    IdempotencyKey::from_parts(&parts)
}

/// The key's parts as RocketMQ's Keys, which brokers find messages by and which are separated by spaces.
pub(super) fn lookup(key: &IdempotencyKey) -> Vec<String> {
    parts(key.as_bytes()).unwrap_or_default().into_iter().map(escape).collect()
}

/// A value as it is where it is text, and escaped where it is not.
pub(super) fn text(bytes: &[u8]) -> String {
    std::str::from_utf8(bytes).map_or_else(|_| escape(bytes), str::to_owned)
}

/// The parts of netstrings: each has its length before it.
fn parts(mut rest: &[u8]) -> Option<Vec<&[u8]>> {
    let mut parts = Vec::new();
    while !rest.is_empty() {
        let colon = rest.iter().position(|byte| *byte == b':')?;
        let length: usize = std::str::from_utf8(&rest[..colon]).ok()?.parse().ok()?;
        let (part, more) = rest[colon + 1..].split_at_checked(length)?;
        parts.push(part);
        rest = more.strip_prefix(b",")?;
    }
    Some(parts)
}

fn escape(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for byte in bytes {
        if byte.is_ascii_graphic() && *byte != b'%' {
            text.push(char::from(*byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => digit(rest.next()?)? * 16 + digit(rest.next()?)?,
            byte => byte,
        });
    }
    Some(bytes)
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_as_text_and_plain_ones_stay_readable() {
        let plain = IdempotencyKey::new("order-7").unwrap();
        assert_eq!(encode(&plain), "7:order-7,");
        let strange: [&dyn idem_core::KeyPart; 4] =
            [&"50 % of it", &"订单\u{1}\u{2}", &[0_u8, 255].as_slice(), &7];
        for key in [plain, IdempotencyKey::from_parts(&strange).unwrap()] {
            let text = encode(&key);
            assert!(text.bytes().all(|byte| byte.is_ascii_graphic()), "{text}");
            assert_eq!(decode(&text).unwrap(), key);
        }
    }

    #[test]
    fn what_is_no_key_is_an_error_that_does_not_show_it() {
        for text in ["", "secret", "3:secret,", "99:secret,", "%", "%zz", "-1:s,", "6:secret", "0:,"] {
            let error = decode(text).unwrap_err();
            assert!(!error.to_string().contains("secret"));
        }
    }

    #[test]
    fn parts_become_keys_without_spaces_and_differ_where_the_parts_do() {
        let keys = |parts: &[&dyn idem_core::KeyPart]| lookup(&IdempotencyKey::from_parts(parts).unwrap());
        assert_eq!(keys(&[&"tenant-a", &"7"]), ["tenant-a", "7"]);
        assert_eq!(keys(&[&"a b"]), ["a%20b"]);
        assert_eq!(keys(&[&"a%20b"]), ["a%2520b"]);
    }
}

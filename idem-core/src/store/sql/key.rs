//! Under which bytes a record is stored.

use sha2::{Digest as _, Sha256};

use crate::key::RecordKey;

/// The longest stored key. Every database can have it in an index.
pub(in crate::store) const LONGEST: usize = 512;
/// The first byte of a longer key's stored form. A plain one begins with the digits of a length.
const SHORTENED: u8 = b'#';
const HEAD: usize = LONGEST - 1 - 32;

/// The key's own bytes, so that keys which grow are inserted side by side: scattered inserts touch a page each,
/// and databases write whole pages to their logs. A key that is too long for an index is its head, for the same
/// reason, and its SHA-256.
pub(in crate::store) fn stored(key: &RecordKey) -> Vec<u8> {
    let bytes = key.to_bytes();
    if bytes.len() <= LONGEST {
        return bytes;
    }
    let mut short = Vec::with_capacity(LONGEST);
    short.push(SHORTENED);
    short.extend_from_slice(&bytes[..HEAD]);
    short.extend_from_slice(&Sha256::digest(&bytes));
    short
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{IdempotencyKey, Namespace};

    fn key(part: &str) -> RecordKey {
        RecordKey::new(Namespace::new(["group"]), IdempotencyKey::new(part).unwrap())
    }

    #[test]
    fn keys_are_stored_as_they_are_while_an_index_can_hold_them() {
        let order = key("order-7");
        assert_eq!(stored(&order), order.to_bytes());
        let longest =
            (0..LONGEST).map(|len| key(&"x".repeat(len + 1)).to_bytes().len()).rfind(|len| *len <= LONGEST);
        assert_eq!(longest, Some(LONGEST));
    }

    #[test]
    fn long_keys_are_short_apart_and_no_key_that_is_stored_as_it_is() {
        let (one, two) = (stored(&key(&"x".repeat(5_000))), stored(&key(&format!("{}y", "x".repeat(4_999)))));
        assert_ne!(one, two);
        assert_eq!((one.len(), two.len()), (LONGEST, LONGEST));
        assert!(!one[0].is_ascii_digit() && key("x").to_bytes()[0].is_ascii_digit());
    }
}

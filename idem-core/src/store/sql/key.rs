//! Under which bytes a record is stored.

use sha2::{Digest as _, Sha256};

use crate::key::{Namespace, RecordKey};
use crate::store::ListedKey;

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

/// The name of a record by its stored key.
pub(in crate::store) fn listed(stored: Vec<u8>) -> ListedKey {
    if let Some(key) = RecordKey::from_bytes(&stored) {
        return ListedKey::Whole(key);
    }
    let namespace = stored.strip_prefix(&[SHORTENED]).and_then(RecordKey::namespace_of);
    ListedKey::Shortened { namespace, stored }
}

/// The ranges that have the stored keys of a namespace, each without its end, in order.
pub(in crate::store) fn ranges(namespace: &Namespace) -> [(Vec<u8>, Vec<u8>); 2] {
    let plain = RecordKey::prefix(namespace);
    let mut short = vec![SHORTENED];
    short.extend_from_slice(&plain[..plain.len().min(HEAD)]);
    [short, plain].map(|low| {
        let mut high = low.clone();
        // A byte of a length, of a name in UTF-8 or a comma: there is a greater one.
        if let Some(last) = high.last_mut() {
            *last = last.saturating_add(1);
        }
        (low, high)
    })
}

/// The range of all stored keys.
pub(in crate::store) fn everything() -> (Vec<u8>, Vec<u8>) {
    (Vec::new(), vec![u8::MAX])
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
    fn a_namespace_has_the_ranges_of_its_keys_alone() {
        let own = [key("order-7"), key("0"), key(&"x".repeat(600)), key(&"é".repeat(300))];
        let foreign = [Namespace::new(["grou"]), Namespace::new(["group", ""]), Namespace::new([""])]
            .map(|namespace| RecordKey::new(namespace, IdempotencyKey::new("order-7").unwrap()));
        let [short, plain] = ranges(own[0].namespace());
        assert!(short < plain && short.1 < plain.0);
        let is_in =
            |(low, high): &(Vec<u8>, Vec<u8>), key: &[u8]| low.as_slice() <= key && key < high.as_slice();
        for (key, is_own) in own.iter().map(|key| (key, true)).chain(foreign.iter().map(|key| (key, false))) {
            let stored = stored(key);
            assert_eq!(is_in(&short, &stored) || is_in(&plain, &stored), is_own, "{key:?}");
            assert!(is_in(&everything(), &stored));
            let listed = listed(stored);
            assert_eq!(listed.namespace(), Some(key.namespace()));
        }
        assert_eq!(listed(stored(&own[0])), ListedKey::Whole(own[0].clone()));
    }

    #[test]
    fn long_keys_are_short_apart_and_no_key_that_is_stored_as_it_is() {
        let (one, two) = (stored(&key(&"x".repeat(5_000))), stored(&key(&format!("{}y", "x".repeat(4_999)))));
        assert_ne!(one, two);
        assert_eq!((one.len(), two.len()), (LONGEST, LONGEST));
        assert!(!one[0].is_ascii_digit() && key("x").to_bytes()[0].is_ascii_digit());
    }
}

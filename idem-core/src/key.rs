//! Idempotency keys, namespaces, and the pair of both that names a record.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed, xxh3_128};

pub use self::part::{DisplayKey, KeyPart};
use crate::netstring;

mod part;

/// The longest key in bytes, all parts together and without their length prefixes: 8 KiB.
///
/// A longer key is an error, never truncated: two keys that differ only behind the cut would be one.
pub const MAX_KEY_LEN: usize = 8 * 1024;

/// Why a key could not be made of the parts that a message offered.
///
/// The text names the part and never its value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// There is no part at all.
    #[error("an idempotency key needs at least one part")]
    NoParts,
    /// A part is absent (`None`).
    #[error("the idempotency key is missing: part {part} has no value")]
    Missing {
        /// Which part, counted from 1.
        part: usize,
    },
    /// A part is the empty string or no bytes.
    #[error("the idempotency key is empty: part {part} has no characters")]
    Empty {
        /// Which part, counted from 1.
        part: usize,
    },
    /// All parts together are longer than [`MAX_KEY_LEN`].
    #[error("the idempotency key is too long: {len} bytes, at most {MAX_KEY_LEN} are allowed")]
    TooLong {
        /// The length that was asked for, in bytes.
        len: usize,
    },
    /// The text that was to hold a whole key holds none.
    #[error("the idempotency key cannot be read: its text is not what idem's producer writes")]
    Malformed,
}

/// The identity of one piece of work: messages with equal keys are the same work.
///
/// A key has one or more parts. Each is stored behind its length, so that no two different lists of parts
/// give the same key: `("a:b", "c")` and `("a", "b:c")` stay apart. Cloning is cheap.
///
/// `Debug` shows a hash and not the key.
///
/// ```
/// use idem_core::IdempotencyKey;
///
/// let one = IdempotencyKey::new("order-7")?;
/// let composite = IdempotencyKey::from_parts(&[&"tenant-a", &"order-7"])?;
/// assert_ne!(one, composite);
/// assert!(IdempotencyKey::new("").is_err());
/// # Ok::<(), idem_core::KeyError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IdempotencyKey(Arc<[u8]>);

impl IdempotencyKey {
    /// A key of one part.
    ///
    /// # Errors
    /// The part is missing, empty or too long.
    pub fn new(part: impl KeyPart) -> Result<Self, KeyError> {
        Self::from_parts(&[&part])
    }

    /// A key of several parts, in this order.
    ///
    /// # Errors
    /// There is no part, or one is missing or empty, or all together are too long.
    pub fn from_parts(parts: &[&dyn KeyPart]) -> Result<Self, KeyError> {
        if parts.is_empty() {
            return Err(KeyError::NoParts);
        }
        let mut encoded = Vec::with_capacity(64);
        let mut len = 0;
        for (index, part) in parts.iter().enumerate() {
            let bytes = part.key_part().ok_or(KeyError::Missing { part: index + 1 })?;
            if bytes.is_empty() {
                return Err(KeyError::Empty { part: index + 1 });
            }
            len += bytes.len();
            if len > MAX_KEY_LEN {
                return Err(KeyError::TooLong { len });
            }
            netstring::push(&mut encoded, &bytes);
        }
        Ok(Self(encoded.into()))
    }

    /// The key as people read it: its parts with ` / ` between them. Not unambiguous, unlike
    /// [`as_bytes`](Self::as_bytes); for an operator's eyes, not for logs.
    pub fn to_string_lossy(&self) -> String {
        netstring::read_lossy(&self.0)
    }

    /// The encoded key: each part behind its length, as a netstring (`7:order-7,`).
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IdempotencyKey(#{:016x})", xxh3_64(&self.0))
    }
}

/// Where a key counts: deployment, consumer group and scope, joined without ambiguity.
///
/// Equal keys in two namespaces are different work. Cloning is cheap.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Namespace(Arc<[u8]>);

impl Namespace {
    /// Joins the parts of a namespace, each behind its length. An empty part is allowed and is a part.
    pub fn new<'a>(parts: impl IntoIterator<Item = &'a str>) -> Self {
        let mut encoded = Vec::with_capacity(64);
        for part in parts {
            netstring::push(&mut encoded, part.as_bytes());
        }
        Self(encoded.into())
    }

    /// The namespace as people read it, as [`IdempotencyKey::to_string_lossy`] has a key.
    pub fn to_string_lossy(&self) -> String {
        netstring::read_lossy(&self.0)
    }

    /// Whether the parts of `outer` are the first ones of this namespace: a group's has all its scopes within it.
    pub fn is_within(&self, outer: &Self) -> bool {
        self.0.starts_with(&outer.0)
    }

    /// The encoded namespace.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Namespace({})", String::from_utf8_lossy(&self.0))
    }
}

/// The name of one record in a store: a namespace and a key in it. Cloning is cheap and allocates nothing.
// One count of its own for both parts: the namespace's is shared by all messages, and threads that count on one
// line of memory wait for each other.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecordKey(Arc<RecordKeyParts>);

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct RecordKeyParts {
    namespace: Namespace,
    key: IdempotencyKey,
    hash: u64,
}

impl RecordKey {
    /// The record of `key` in `namespace`.
    pub fn new(namespace: Namespace, key: IdempotencyKey) -> Self {
        let hash = xxh3_64_with_seed(key.as_bytes(), xxh3_64(namespace.as_bytes()));
        Self(Arc::new(RecordKeyParts { namespace, key, hash }))
    }

    /// The namespace.
    pub fn namespace(&self) -> &Namespace {
        &self.0.namespace
    }

    /// The key in the namespace.
    pub fn key(&self) -> &IdempotencyKey {
        &self.0.key
    }

    /// The bytes under which a store keeps the record. The namespace's own length goes first, so that no two
    /// different pairs of namespace and key give the same bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut joined =
            Vec::with_capacity(self.namespace().as_bytes().len() + self.key().as_bytes().len() + 8);
        self.write_to(&mut joined);
        joined
    }

    /// Writes what [`to_bytes`](Self::to_bytes) gives behind `out`.
    pub(crate) fn write_to(&self, out: &mut Vec<u8>) {
        netstring::push(out, self.namespace().as_bytes());
        out.extend_from_slice(self.key().as_bytes());
    }

    /// The record's name that [`to_bytes`](Self::to_bytes) gave. `None` where the bytes are none.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (namespace, key) = netstring::split(bytes)?;
        if key.is_empty()
            || netstring::parts(namespace).any(|part| part.is_none())
            || netstring::parts(key).any(|part| part.is_none())
        {
            return None;
        }
        Some(Self::new(Namespace(namespace.into()), IdempotencyKey(key.into())))
    }

    /// The bytes with which those of all keys in this namespace begin.
    #[cfg(any(feature = "redis", feature = "postgres", feature = "mysql", feature = "sqlite"))]
    pub(crate) fn prefix(namespace: &Namespace) -> Vec<u8> {
        let mut prefix = Vec::new();
        netstring::push(&mut prefix, namespace.as_bytes());
        prefix
    }

    /// The namespace in a name that [`to_bytes`](Self::to_bytes) gave, and of which the end may be missing.
    #[cfg(any(feature = "postgres", feature = "mysql", feature = "sqlite"))]
    pub(crate) fn namespace_of(bytes: &[u8]) -> Option<Namespace> {
        netstring::split(bytes).map(|(namespace, _)| Namespace(namespace.into()))
    }

    /// A hash of the record's name that is safe to log and equal on every machine and in every version.
    ///
    /// It is no secret: whoever can guess a key can compute its hash.
    pub fn hash64(&self) -> u64 {
        self.0.hash
    }
}

impl Hash for RecordKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash64());
    }
}

/// A digest of a payload, with which the same key under another payload is noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 16]);

impl Fingerprint {
    /// The fingerprint of a payload's bytes.
    pub fn of(payload: &[u8]) -> Self {
        Self(xxh3_128(payload).to_be_bytes())
    }

    /// The fingerprint that [`to_bytes`](Self::to_bytes) gave.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The fingerprint's bytes, for a store to keep.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_that_would_collide_without_length_prefixes_stay_apart() {
        let a = IdempotencyKey::from_parts(&[&"a:b", &"c"]).unwrap();
        let b = IdempotencyKey::from_parts(&[&"a", &"b:c"]).unwrap();
        let c = IdempotencyKey::from_parts(&[&"1:a,1:b"]).unwrap();
        let d = IdempotencyKey::from_parts(&[&"1:a", &"1:b"]).unwrap();
        assert_ne!(a, b);
        assert_ne!(c, d);
    }

    #[test]
    fn namespace_and_key_do_not_run_into_each_other() {
        let one = RecordKey::new(Namespace::new(["a"]), IdempotencyKey::from_parts(&[&"b", &"c"]).unwrap());
        let two = RecordKey::new(Namespace::new(["a", "b"]), IdempotencyKey::new("c").unwrap());
        assert_ne!(one.to_bytes(), two.to_bytes());
    }

    #[test]
    fn empty_missing_and_overlong_keys_are_errors_that_do_not_show_the_value() {
        assert_eq!(IdempotencyKey::from_parts(&[]), Err(KeyError::NoParts));
        assert_eq!(IdempotencyKey::from_parts(&[&"a", &""]), Err(KeyError::Empty { part: 2 }));
        assert_eq!(IdempotencyKey::new(None::<String>), Err(KeyError::Missing { part: 1 }));
        let long = "x".repeat(MAX_KEY_LEN + 1);
        let error = IdempotencyKey::new(long.as_str()).unwrap_err();
        assert_eq!(error, KeyError::TooLong { len: MAX_KEY_LEN + 1 });
        assert!(!error.to_string().contains("xxx"));
        assert!(IdempotencyKey::new("x".repeat(MAX_KEY_LEN)).is_ok());
    }

    #[test]
    fn a_key_reads_as_its_parts() {
        let key = IdempotencyKey::from_parts(&[&"tenant:1", &7_u8]).unwrap();
        assert_eq!(key.to_string_lossy(), "tenant:1 / 7");
    }

    #[test]
    fn a_records_name_survives_its_byte_form() {
        let key = IdempotencyKey::from_parts(&[&"tenant:1", &"a,b"]).unwrap();
        let name = RecordKey::new(Namespace::new(["", "campaign", "orders"]), key);
        let bytes = name.to_bytes();
        assert_eq!(RecordKey::from_bytes(&bytes), Some(name.clone()));
        for foreign in [
            &bytes[..bytes.len() - 1],
            &bytes[1..],
            b"",
            b"3:a,",
            b"0:,",
            b"0:,x",
            b"99999999999999999999:a,",
        ] {
            assert_eq!(RecordKey::from_bytes(foreign), None);
        }
        assert!(name.namespace().is_within(&Namespace::new(["", "campaign"])));
        assert!(!name.namespace().is_within(&Namespace::new(["", "camp"])));
        assert_eq!(name.namespace().to_string_lossy(), r#""" / campaign / orders"#);
    }

    #[test]
    fn debug_shows_a_hash_and_not_the_key() {
        let key = IdempotencyKey::new("secret-order").unwrap();
        let record = RecordKey::new(Namespace::new(["group"]), key);
        assert!(!format!("{record:?}").contains("secret"));
    }
}

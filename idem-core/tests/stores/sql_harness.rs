//! What the conformance harnesses of the SQL stores share.

use std::sync::atomic::{AtomicU32, Ordering};

use idem_core::store::ClaimRequest;
use idem_core::{Record, RecordKey, State, Token};

/// A name that no other test has, in this run or another one.
pub(crate) fn unique_name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("idem_{:08x}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from_digit(digit.into(), 16).unwrap())
        .collect()
}

/// As the query gives them.
pub(crate) type Row = (i64, i64, Vec<u8>, i64, i64, i64, Option<Vec<u8>>);

/// What stands in a row, as a conformance rule plants it.
///
/// The rules plant bytes. A record's bytes become its columns. What is no record of this version becomes a row with the
/// bytes' own version and state, as far as they have one, and keeps all of them in the reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Columns {
    version: i64,
    state: i64,
    token: Vec<u8>,
    fence: i64,
    attempts: i64,
    lease_end: i64,
    reply: Option<Vec<u8>>,
}

/// When a planted record expires: not before every test is over.
pub(crate) const LATE: i64 = i64::MAX / 2;

impl From<Row> for Columns {
    fn from((version, state, token, fence, attempts, lease_end, reply): Row) -> Self {
        Self { version, state, token, fence, attempts, lease_end, reply }
    }
}

impl Columns {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Record::decode(bytes).map_or_else(|_| Self::foreign(bytes), |record| Self::record(&record))
    }

    fn record(record: &Record) -> Self {
        let state = match record.state {
            State::InProgress => 1,
            State::Completed => 2,
            State::Released => 3,
        };
        Self {
            version: 1,
            state,
            token: record.token.to_bytes().to_vec(),
            fence: i64::try_from(record.fence.0).unwrap(),
            attempts: record.attempts.into(),
            lease_end: i64::try_from(record.lease_end.as_micros()).unwrap(),
            reply: record.reply.as_ref().map(|reply| reply.to_vec()),
        }
    }

    fn foreign(bytes: &[u8]) -> Self {
        let whole = bytes.len() >= 55;
        Self {
            version: if whole { bytes[0].into() } else { 0 },
            state: if whole && bytes[1] == b'P' { 1 } else { 9 },
            token: if whole { bytes[2..18].to_vec() } else { vec![0; 16] },
            fence: 1,
            attempts: 0,
            lease_end: 0,
            reply: Some(bytes.to_vec()),
        }
    }

    /// The statement that plants them; `literal` writes bytes as the database's SQL has them.
    pub(crate) fn insert(&self, key: &RecordKey, literal: fn(&[u8]) -> String) -> String {
        let reply = self.reply.as_deref().map_or_else(|| "NULL".to_owned(), literal);
        let Self { version, state, fence, attempts, lease_end, .. } = self;
        let (key, token) = (literal(&key.to_bytes()), literal(&self.token));
        format!(
            "INSERT INTO {{table}} (key, version, state, token, fence, attempts, lease_end, expires_at, reply) \
             VALUES ({key}, {version}, {state}, {token}, {fence}, {attempts}, {lease_end}, {LATE}, {reply})"
        )
    }

    /// The query for them; `integer` is what makes a long integer of a column.
    pub(crate) fn select(key: &RecordKey, literal: fn(&[u8]) -> String, integer: &str) -> String {
        let key = literal(&key.to_bytes());
        format!(
            "SELECT version{integer}, state{integer}, token, fence, attempts{integer}, lease_end, reply FROM {{table}} \
             WHERE key = {key} AND fingerprint IS NULL AND expires_at = {LATE}"
        )
    }

    /// The bytes that were planted, unless somebody has changed the row.
    pub(crate) fn bytes(self) -> Option<Vec<u8>> {
        let bytes = self.reply.clone()?;
        (self == Self::of(&bytes)).then_some(bytes)
    }
}

/// Claims of fresh keys.
pub(crate) fn claims(count: usize) -> Vec<ClaimRequest> {
    super::single::claims(count)
}

/// A claim of the same key under another token.
pub(crate) fn rival(claim: &ClaimRequest) -> ClaimRequest {
    ClaimRequest { token: Token::random(), ..claim.clone() }
}

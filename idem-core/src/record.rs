//! The record that a store keeps for one key, and its byte form.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;

use crate::key::Fingerprint;

/// The owner of one claim: 128 random bits, fresh for each claim.
///
/// `Debug` shows nothing of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token([u8; 16]);

impl Token {
    /// A fresh token.
    pub fn random() -> Self {
        Self(rand::random())
    }

    /// The token that [`to_bytes`](Self::to_bytes) gave.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The token's bytes, for a store to keep or a handler to pass on.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// A number that grows with each claim of a key: `max(last + 1, the server's clock in µs)`.
///
/// A resource that remembers the greatest fence it has seen can refuse a writer that was overtaken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fence(pub u64);

impl fmt::Display for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where a record stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Somebody holds the lease, or held it until it ran out.
    InProgress,
    /// The work is done.
    Completed,
    /// Nobody holds it; the number of attempts is kept.
    Released,
}

/// The record that a store keeps for one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Where it stands.
    pub state: State,
    /// Who claimed it last.
    pub token: Token,
    /// The number of that claim.
    pub fence: Fence,
    /// How many runs of the handler have failed and were counted.
    pub attempts: u32,
    /// When the lease ends (in progress), as time since the epoch of the store's clock.
    pub lease_end: Duration,
    /// The digest of the payload, where the handler asks for it.
    pub fingerprint: Option<Fingerprint>,
    /// A stored reply, for later.
    pub reply: Option<Bytes>,
}

/// The version that this build writes and understands.
pub const RECORD_VERSION: u8 = 1;

const HEADER: usize = 1 + 1 + 16 + 8 + 8 + 4 + 1 + 16;

/// A stored value is not a record that this version understands.
///
/// It is never treated as absent: it may be a newer version's completed record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// Written by a newer version of idem.
    #[error(
        "the record has version {0}, and this version of idem understands {RECORD_VERSION} at most: upgrade this process"
    )]
    NewerVersion(u8),
    /// Not written by idem at all.
    #[error("the stored value is no record of idem: another program writes under the same prefix")]
    Foreign,
}

impl Record {
    /// The byte form, big-endian and of fixed layout, so that a store's script can read it:
    ///
    /// | offset | bytes | what |
    /// |---|---|---|
    /// | 0 | 1 | version |
    /// | 1 | 1 | state: `P` in progress, `C` completed, `R` released |
    /// | 2 | 16 | token |
    /// | 18 | 8 | lease end, µs since the epoch of the store's clock |
    /// | 26 | 8 | fence |
    /// | 34 | 4 | attempts |
    /// | 38 | 1 | flags: bit 0 fingerprint present, bit 1 reply present |
    /// | 39 | 16 | fingerprint, zero where absent |
    /// | 55 | rest | reply |
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER + self.reply.as_deref().unwrap_or_default().len());
        self.encode_to(&mut out);
        out
    }

    /// Writes what [`encode`](Self::encode) gives behind `out`.
    pub(crate) fn encode_to(&self, out: &mut Vec<u8>) {
        let reply = self.reply.as_deref().unwrap_or_default();
        out.push(RECORD_VERSION);
        out.push(match self.state {
            State::InProgress => b'P',
            State::Completed => b'C',
            State::Released => b'R',
        });
        out.extend_from_slice(&self.token.to_bytes());
        let micros = u64::try_from(self.lease_end.as_micros()).unwrap_or(u64::MAX);
        out.extend_from_slice(&micros.to_be_bytes());
        out.extend_from_slice(&self.fence.0.to_be_bytes());
        out.extend_from_slice(&self.attempts.to_be_bytes());
        out.push(u8::from(self.fingerprint.is_some()) | u8::from(self.reply.is_some()) << 1);
        out.extend_from_slice(&self.fingerprint.map_or([0; 16], Fingerprint::to_bytes));
        out.extend_from_slice(reply);
    }

    /// Reads what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// The bytes are a newer version's record, or none of idem's.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let version = *bytes.first().ok_or(RecordError::Foreign)?;
        if bytes.len() < HEADER || !bytes[1].is_ascii_uppercase() {
            return Err(RecordError::Foreign);
        }
        if version > RECORD_VERSION {
            return Err(RecordError::NewerVersion(version));
        }
        let state = match (version, bytes[1]) {
            (RECORD_VERSION, b'P') => State::InProgress,
            (RECORD_VERSION, b'C') => State::Completed,
            (RECORD_VERSION, b'R') => State::Released,
            _ => return Err(RecordError::Foreign),
        };
        let flags = bytes[38];
        Ok(Self {
            state,
            token: Token(array(&bytes[2..18])),
            lease_end: Duration::from_micros(u64::from_be_bytes(array(&bytes[18..26]))),
            fence: Fence(u64::from_be_bytes(array(&bytes[26..34]))),
            attempts: u32::from_be_bytes(array(&bytes[34..38])),
            fingerprint: (flags & 1 != 0).then(|| Fingerprint::from_bytes(array(&bytes[39..55]))),
            reply: (flags & 2 != 0).then(|| Bytes::copy_from_slice(&bytes[HEADER..])),
        })
    }
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().expect("the caller sliced exactly N bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        Record {
            state: State::Completed,
            token: Token::random(),
            fence: Fence(1_700_000_000_000_000),
            attempts: 3,
            lease_end: Duration::from_micros(42),
            fingerprint: Some(Fingerprint::of(b"payload")),
            reply: Some(Bytes::from_static(b"")),
        }
    }

    #[test]
    fn a_record_survives_its_byte_form() {
        let full = record();
        assert_eq!(Record::decode(&full.encode()), Ok(full.clone()));
        let bare = Record { fingerprint: None, reply: None, ..full };
        assert_eq!(Record::decode(&bare.encode()), Ok(bare));
    }

    #[test]
    fn newer_and_foreign_values_are_told_apart_and_are_never_absent() {
        let mut newer = record().encode();
        newer[0] = RECORD_VERSION + 1;
        assert_eq!(Record::decode(&newer), Err(RecordError::NewerVersion(2)));
        for foreign in [&b""[..], b"1", b"hello, this is a value of some other program, long enough to pass"]
        {
            assert_eq!(Record::decode(foreign), Err(RecordError::Foreign));
        }
    }
}

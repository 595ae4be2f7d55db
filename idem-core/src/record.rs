//! The record that a store keeps for one key, and its byte form.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;

use crate::doubt::{Doubt, MemberId, MessageId};
use crate::key::Fingerprint;
use crate::outcome::Outcome;

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

impl State {
    /// The state in a record's byte form.
    const fn code(self) -> u8 {
        match self {
            Self::InProgress => b'P',
            Self::Completed => b'C',
            Self::Released => b'R',
        }
    }

    const fn of_code(code: u8) -> Option<Self> {
        match code {
            b'P' => Some(Self::InProgress),
            b'C' => Some(Self::Completed),
            b'R' => Some(Self::Released),
            _ => None,
        }
    }
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
    /// The member who claimed it last.
    pub member: MemberId,
    /// The run whose effect may be there, although nobody has its answer. Never in a completed record.
    pub doubt: Option<Doubt>,
    /// The last run that ended and did not complete the key. Never in a completed record.
    pub last: Option<LastRun>,
    /// The digest of the payload, where the handler asks for it.
    pub fingerprint: Option<Fingerprint>,
    /// The message that it was claimed for last.
    pub message: Option<MessageId>,
    /// A stored reply, for later.
    pub reply: Option<Bytes>,
}

/// A run that ended and did not complete its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastRun {
    /// How it ended.
    pub outcome: Outcome,
    /// The handler's error, shortened.
    pub error: Box<str>,
}

impl LastRun {
    /// The most bytes of an error that a record keeps.
    pub const MAX_ERROR: usize = 160;

    /// The end of a run, with as much of its error as a record keeps.
    pub fn new(outcome: Outcome, error: &str) -> Self {
        let kept = error.get(..error.floor_char_boundary(Self::MAX_ERROR)).unwrap_or_default();
        Self { outcome, error: kept.into() }
    }

    pub(crate) fn encode_to(&self, out: &mut Vec<u8>) {
        out.push(u8::try_from(self.outcome as usize).unwrap_or(u8::MAX));
        out.push(u8::try_from(self.error.len()).unwrap_or(u8::MAX));
        out.extend_from_slice(self.error.as_bytes());
    }

    /// Takes it off `bytes`. An outcome of a newer version is a failure, with its error.
    pub(crate) fn decode(bytes: &mut &[u8]) -> Option<Self> {
        let outcome = usize::from(*bytes.split_off_first()?);
        let length = *bytes.split_off_first()?;
        let error = bytes.split_off(..usize::from(length))?;
        let outcome = Outcome::ALL.get(outcome).copied().unwrap_or(Outcome::Failed);
        Some(Self { outcome, error: String::from_utf8_lossy(error).into() })
    }
}

/// The version that this build writes and understands.
pub const RECORD_VERSION: u8 = 1;

/// As far as each record has the same layout, with the flags.
pub(crate) const HEADER: usize = 1 + 1 + 16 + 8 + 8 + 4 + 8 + 1;

/// The parts of a record that may be absent, each with a flag, in the order of its flags.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct RecordTail {
    pub(crate) doubt: Option<Doubt>,
    pub(crate) last: Option<LastRun>,
    pub(crate) fingerprint: Option<Fingerprint>,
    pub(crate) message: Option<MessageId>,
    pub(crate) reply: Option<Bytes>,
}

impl RecordTail {
    const DOUBT: u8 = 1;
    const LAST: u8 = 2;
    const FINGERPRINT: u8 = 4;
    const MESSAGE: u8 = 8;
    const REPLY: u8 = 16;

    /// Writes the flags and what they say is there.
    pub(crate) fn encode_to(&self, out: &mut Vec<u8>) {
        let flag = |is_there: bool, flag| if is_there { flag } else { 0 };
        out.push(
            flag(self.doubt.is_some(), Self::DOUBT)
                | flag(self.last.is_some(), Self::LAST)
                | flag(self.fingerprint.is_some(), Self::FINGERPRINT)
                | flag(self.message.is_some(), Self::MESSAGE)
                | flag(self.reply.is_some(), Self::REPLY),
        );
        if let Some(doubt) = self.doubt {
            out.extend_from_slice(&doubt.to_bytes());
        }
        if let Some(last) = &self.last {
            last.encode_to(out);
        }
        if let Some(fingerprint) = self.fingerprint {
            out.extend_from_slice(&fingerprint.to_bytes());
        }
        if let Some(message) = self.message {
            message.encode_to(out);
        }
        out.extend_from_slice(self.reply.as_deref().unwrap_or_default());
    }

    /// Reads what [`encode_to`](Self::encode_to) wrote.
    pub(crate) fn decode(mut bytes: &[u8]) -> Option<Self> {
        let flags = *bytes.split_off_first()?;
        let mut tail = Self::default();
        if flags & Self::DOUBT != 0 {
            tail.doubt = Some(Doubt::from_bytes(bytes.split_off(..Doubt::LEN)?)?);
        }
        if flags & Self::LAST != 0 {
            tail.last = Some(LastRun::decode(&mut bytes)?);
        }
        if flags & Self::FINGERPRINT != 0 {
            tail.fingerprint = Some(Fingerprint::from_bytes(bytes.split_off(..16)?.try_into().ok()?));
        }
        if flags & Self::MESSAGE != 0 {
            tail.message = Some(MessageId::decode(&mut bytes)?);
        }
        if flags & Self::REPLY != 0 {
            tail.reply = Some(Bytes::copy_from_slice(bytes));
        }
        Some(tail)
    }
}

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
    /// | 38 | 8 | member |
    /// | 46 | 1 | flags: bit 0 doubt, 1 last run, 2 fingerprint, 3 message, 4 reply |
    /// | 47 | | those of the five that are there, in this order |
    ///
    /// A doubt has 21 bytes: one for its cause, then fence, attempt and member. The last run is one byte for its outcome, and its
    /// error behind one byte with the length. A fingerprint has 16 bytes, a message's id a byte with its length before it; the reply
    /// is the rest.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128 + self.reply.as_deref().unwrap_or_default().len());
        self.encode_to(&mut out);
        out
    }

    /// Writes what [`encode`](Self::encode) gives behind `out`.
    pub(crate) fn encode_to(&self, out: &mut Vec<u8>) {
        out.push(RECORD_VERSION);
        out.push(self.state.code());
        out.extend_from_slice(&self.token.to_bytes());
        let micros = u64::try_from(self.lease_end.as_micros()).unwrap_or(u64::MAX);
        out.extend_from_slice(&micros.to_be_bytes());
        out.extend_from_slice(&self.fence.0.to_be_bytes());
        out.extend_from_slice(&self.attempts.to_be_bytes());
        out.extend_from_slice(&self.member.to_bytes());
        let tail = RecordTail {
            doubt: self.doubt,
            last: self.last.clone(),
            fingerprint: self.fingerprint,
            message: self.message,
            reply: self.reply.clone(),
        };
        tail.encode_to(out);
    }

    /// The state, and whether the record is in doubt, from as much of it as [`HEADER`] says. `None` where it is no record of this
    /// version.
    #[cfg(feature = "redis")]
    pub(crate) fn head(bytes: &[u8]) -> Option<(State, bool)> {
        let [RECORD_VERSION, state, .., flags] = bytes.first_chunk::<HEADER>()? else { return None };
        Some((State::of_code(*state)?, flags & RecordTail::DOUBT != 0))
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
        let state =
            State::of_code(bytes[1]).filter(|_| version == RECORD_VERSION).ok_or(RecordError::Foreign)?;
        let tail = RecordTail::decode(&bytes[46..]).ok_or(RecordError::Foreign)?;
        Ok(Self {
            state,
            token: Token(array(&bytes[2..18])),
            lease_end: Duration::from_micros(u64::from_be_bytes(array(&bytes[18..26]))),
            fence: Fence(u64::from_be_bytes(array(&bytes[26..34]))),
            attempts: u32::from_be_bytes(array(&bytes[34..38])),
            member: MemberId::from_bytes(array(&bytes[38..46])),
            doubt: tail.doubt,
            last: tail.last,
            fingerprint: tail.fingerprint,
            message: tail.message,
            reply: tail.reply,
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
            member: MemberId::random(),
            doubt: Some(Doubt {
                cause: crate::doubt::DoubtCause::TimedOut,
                fence: Fence(41),
                attempt: 2,
                member: MemberId::random(),
            }),
            last: Some(LastRun::new(Outcome::Failed, "no answer from the bank")),
            fingerprint: Some(Fingerprint::of(b"payload")),
            message: Some(MessageId::new("7F00000100002A139A558A43A7E90000")),
            reply: Some(Bytes::from_static(b"")),
        }
    }

    #[test]
    fn a_record_survives_its_byte_form() {
        let full = record();
        assert_eq!(Record::decode(&full.encode()), Ok(full.clone()));
        #[cfg(feature = "redis")]
        assert_eq!(Record::head(&full.encode()[..HEADER]), Some((full.state, true)));
        let bare = Record { doubt: None, last: None, fingerprint: None, message: None, reply: None, ..full };
        assert_eq!(bare.encode().len(), HEADER);
        assert_eq!(Record::decode(&bare.encode()), Ok(bare));
    }

    #[test]
    fn a_record_that_ends_too_early_is_none() {
        let bytes = record().encode();
        for length in 0..bytes.len() {
            assert_eq!(Record::decode(&bytes[..length]), Err(RecordError::Foreign), "{length}");
        }
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

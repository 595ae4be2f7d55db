//! Doubt: a run that ended without an answer, whose effect may be there or not.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::record::Fence;

/// A run ended without an answer, and nothing since has told whether it had its effect.
///
/// It stays with the key until the key is completed, a check says that nothing happened, or a person decides. A later error does
/// not take it away, because that says nothing about the run before. A run of which more is known than that it vanished replaces
/// one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Doubt {
    /// How the run ended.
    pub cause: DoubtCause,
    /// The number of the run's claim, which is its time in µs by the store's clock.
    pub fence: Fence,
    /// Which attempt the run was, counted from 1.
    pub attempt: u32,
    /// The member whose run it was.
    pub member: MemberId,
}

impl Doubt {
    /// The length of the byte form.
    pub(crate) const LEN: usize = 21;

    /// When the run's key was claimed, by the store's clock.
    pub fn since(&self) -> SystemTime {
        UNIX_EPOCH.checked_add(Duration::from_micros(self.fence.0)).unwrap_or(UNIX_EPOCH)
    }

    /// Cause, fence, attempt and member, in the order in which a record has the last three.
    pub(crate) fn to_bytes(self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[0] = self.cause.code();
        bytes[1..9].copy_from_slice(&self.fence.0.to_be_bytes());
        bytes[9..13].copy_from_slice(&self.attempt.to_be_bytes());
        bytes[13..].copy_from_slice(&self.member.to_bytes());
        bytes
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let ([cause], rest) = bytes.split_first_chunk()?;
        let (fence, rest) = rest.split_first_chunk()?;
        let (attempt, member) = rest.split_first_chunk()?;
        Some(Self {
            // A cause of a newer version is a doubt all the same, and of the kind that every policy heeds.
            cause: DoubtCause::ALL
                .into_iter()
                .find(|known| known.code() == *cause)
                .unwrap_or(DoubtCause::Uncertain),
            fence: Fence(u64::from_be_bytes(*fence)),
            attempt: u32::from_be_bytes(*attempt),
            member: MemberId::from_bytes(member.try_into().ok()?),
        })
    }
}

/// Says the cause, the attempt and the member.
impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "attempt {} of member {} ended without an answer: {}",
            self.attempt, self.member, self.cause
        )
    }
}

/// How a run ended without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DoubtCause {
    /// Its process died, or stood still for longer than the lease.
    Vanished,
    /// It took longer than the handler's time-out and was cancelled.
    TimedOut,
    /// Its lease could not be kept, and it was cancelled.
    LeaseLost,
    /// The process was shut down, and it was cancelled.
    Shutdown,
    /// It was dropped, with its runtime or by the program.
    Dropped,
    /// It panicked.
    Panicked,
    /// The handler itself said so, with an [`Uncertain`](crate::Uncertain).
    Uncertain,
}

impl DoubtCause {
    /// All causes.
    pub const ALL: [Self; 7] = [
        Self::Vanished,
        Self::TimedOut,
        Self::LeaseLost,
        Self::Shutdown,
        Self::Dropped,
        Self::Panicked,
        Self::Uncertain,
    ];

    /// The cause's name in events and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Vanished => "vanished",
            Self::TimedOut => "timed_out",
            Self::LeaseLost => "lease_lost",
            Self::Shutdown => "shutdown",
            Self::Dropped => "dropped",
            Self::Panicked => "panicked",
            Self::Uncertain => "uncertain",
        }
    }

    /// The cause in a record. Scripts and statements know that of [`Vanished`](Self::Vanished), which is 1.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Vanished => 1,
            Self::TimedOut => 2,
            Self::LeaseLost => 3,
            Self::Shutdown => 4,
            Self::Dropped => 5,
            Self::Panicked => 6,
            Self::Uncertain => 7,
        }
    }
}

impl fmt::Display for DoubtCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Vanished => "its process died or stood still beyond the lease",
            Self::TimedOut => "it took longer than its time-out",
            Self::LeaseLost => "its lease could not be kept",
            Self::Shutdown => "its process was shut down",
            Self::Dropped => "it was dropped",
            Self::Panicked => "it panicked",
            Self::Uncertain => "the handler does not know",
        })
    }
}

/// The answer of a handler's check: what became of a run that ended without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Happened {
    /// Its effect is there: the key is completed, and the handler is not run.
    Yes,
    /// It had no effect, and will have none: the handler is run.
    No,
    /// Nobody knows yet: the check is asked again, with the handler's backoff.
    Unknown,
}

/// A process that claims keys: 64 random bits, drawn when its engine starts.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct MemberId(u64);

impl MemberId {
    /// A fresh one.
    pub fn random() -> Self {
        Self(rand::random())
    }

    /// The member that [`to_bytes`](Self::to_bytes) gave.
    pub const fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(u64::from_be_bytes(bytes))
    }

    /// Its bytes, for a store to keep.
    pub const fn to_bytes(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }
}

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemberId({self})")
    }
}

/// A message's own id, its `UNIQ_KEY`: hexadecimal digits of a fixed length with every client of RocketMQ's.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct MessageId {
    length: u8,
    bytes: [u8; Self::MOST],
}

impl MessageId {
    /// The ids of 5.x clients have 34 digits, all others' have 32.
    const MOST: usize = 17;
    /// In the byte form's length: these are no digits but the text itself, as much of it as there is room for.
    const TEXT: u8 = 0x80;

    /// The id of that text. Of one that is no even number of upper-case hexadecimal digits, or more than 34, the first 17 bytes
    /// are kept.
    pub fn new(text: &str) -> Self {
        Self::of_digits(text).unwrap_or_else(|| {
            let kept = &text.as_bytes()[..text.floor_char_boundary(Self::MOST)];
            let mut bytes = [0; Self::MOST];
            bytes[..kept.len()].copy_from_slice(kept);
            Self { length: Self::TEXT | u8::try_from(kept.len()).unwrap_or_default(), bytes }
        })
    }

    fn of_digits(text: &str) -> Option<Self> {
        let (pairs, odd) = text.as_bytes().as_chunks::<2>();
        if !odd.is_empty() || pairs.len() > Self::MOST {
            return None;
        }
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Some(byte & 0xf),
            b'A'..=b'F' => Some((byte & 0xf).saturating_add(9)),
            _ => None,
        };
        let mut bytes = [0; Self::MOST];
        for (place, [high, low]) in bytes.iter_mut().zip(pairs) {
            *place = digit(*high)? << 4 | digit(*low)?;
        }
        Some(Self { length: u8::try_from(pairs.len()).ok()?, bytes })
    }

    /// The byte form, by itself.
    #[cfg(any(feature = "postgres", feature = "mysql", feature = "sqlite"))]
    pub(crate) fn to_vec(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.kept().len() + 1);
        self.encode_to(&mut bytes);
        bytes
    }

    pub(crate) fn encode_to(&self, out: &mut Vec<u8>) {
        out.push(self.length);
        out.extend_from_slice(self.kept());
    }

    /// Reads what [`encode_to`](Self::encode_to) wrote, and takes it off `bytes`.
    pub(crate) fn decode(bytes: &mut &[u8]) -> Option<Self> {
        let length = *bytes.split_off_first()?;
        let kept = bytes.split_off(..usize::from(length & !Self::TEXT))?;
        let mut bytes = [0; Self::MOST];
        bytes.get_mut(..kept.len())?.copy_from_slice(kept);
        Some(Self { length, bytes })
    }

    fn kept(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length & !Self::TEXT)).unwrap_or_default()
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.length & Self::TEXT != 0 {
            return f.write_str(&String::from_utf8_lossy(self.kept()));
        }
        self.kept().iter().try_for_each(|byte| write!(f, "{byte:02X}"))
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MessageId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_doubt_survives_its_byte_form() {
        for cause in DoubtCause::ALL {
            let doubt = Doubt { cause, fence: Fence(7), attempt: 3, member: MemberId::random() };
            assert_eq!(Doubt::from_bytes(&doubt.to_bytes()), Some(doubt));
        }
        let newer = Doubt::from_bytes(&[9; Doubt::LEN]).map(|doubt| doubt.cause);
        assert_eq!(newer, Some(DoubtCause::Uncertain));
        assert_eq!(Doubt::from_bytes(&[1; Doubt::LEN - 1]), None);
    }

    #[test]
    fn ids_of_every_client_are_kept_whole() {
        for id in ["7F00000100002A139A558A43A7E90000", "01AABBCCDDEEFF0102030405060708090A", "", "order-7"] {
            let kept = MessageId::new(id);
            assert_eq!(kept.to_string(), id);
            let mut bytes = Vec::new();
            kept.encode_to(&mut bytes);
            assert_eq!(MessageId::decode(&mut &bytes[..]), Some(kept));
        }
        assert_eq!(MessageId::new("a text that is longer than an id").to_string(), "a text that is lo");
        assert_eq!(MessageId::new("0123456789abcdefé").to_string(), "0123456789abcdef");
    }
}

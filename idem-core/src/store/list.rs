//! Records that are found by what they say, a page at a time.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::clock::LONGEST;
use crate::key::{Namespace, RecordKey};
use crate::record::{Record, RecordError, State};

/// Which records are looked for: all of them, unless a method says otherwise.
///
/// ```
/// use std::time::Duration;
///
/// use idem_core::Namespace;
/// use idem_core::store::RecordFilter;
///
/// let stuck = RecordFilter::new()
///     .within(Namespace::new(["", "campaign"]))   // deployment and consumer group
///     .in_doubt(true)
///     .older_than(Duration::from_mins(10));
/// # let _ = stuck;
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct RecordFilter {
    pub(super) keys: KeyFilter,
    pub(super) state: Option<State>,
    pub(super) doubt: Option<bool>,
    /// How long ago the last claim may have been.
    pub(super) shortest: Option<Duration>,
    pub(super) longest: Duration,
}

/// Whose records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum KeyFilter {
    All,
    /// Of this namespace.
    Exactly(Namespace),
    /// Of the namespaces whose first parts are these.
    Within(Namespace),
    One(RecordKey),
}

impl Default for RecordFilter {
    fn default() -> Self {
        Self::new()
    }
}

impl RecordFilter {
    /// All records of the store.
    pub fn new() -> Self {
        Self { keys: KeyFilter::All, state: None, doubt: None, shortest: None, longest: LONGEST }
    }

    /// The record of this key.
    pub fn of(key: RecordKey) -> Self {
        Self { keys: KeyFilter::One(key), ..Self::new() }
    }

    /// Only those of this namespace. SQL stores read no others, so that this costs least.
    pub fn namespace(self, namespace: Namespace) -> Self {
        Self { keys: KeyFilter::Exactly(namespace), ..self }
    }

    /// Only those of the namespaces whose first parts are the parts of this one: with deployment and group, of all that a group
    /// handles.
    pub fn within(self, outer: Namespace) -> Self {
        Self { keys: KeyFilter::Within(outer), ..self }
    }

    /// Only those that stand so.
    pub fn state(self, state: State) -> Self {
        Self { state: Some(state), ..self }
    }

    /// Only those that are in doubt, or only those that are not.
    pub fn in_doubt(self, in_doubt: bool) -> Self {
        Self { doubt: Some(in_doubt), ..self }
    }

    /// Only those whose last claim is so long ago by the store's clock.
    pub fn older_than(self, age: Duration) -> Self {
        Self { shortest: Some(age), ..self }
    }

    /// Only those whose last claim is no longer ago than this.
    pub fn younger_than(self, age: Duration) -> Self {
        Self { longest: age, ..self }
    }

    /// Whether it takes records of this namespace, which is `None` where that cannot be told.
    pub(super) fn takes_namespace(&self, namespace: Option<&Namespace>) -> bool {
        match &self.keys {
            KeyFilter::All | KeyFilter::One(_) => true,
            KeyFilter::Exactly(only) => namespace == Some(only),
            KeyFilter::Within(outer) => namespace.is_some_and(|namespace| namespace.is_within(outer)),
        }
    }

    /// Whether it depends on the records and not on their keys alone.
    pub(super) fn is_of_records(&self) -> bool {
        *self != Self { keys: self.keys.clone(), ..Self::new() }
    }

    /// Whether it takes a record, whosever it is. One that is not understood is taken where the filter says nothing of records.
    pub(super) fn takes(&self, listed: &ListedRecord) -> bool {
        let Ok(record) = &listed.record else {
            return !self.is_of_records();
        };
        let age = listed.now.saturating_sub(Duration::from_micros(record.fence.0));
        self.state.is_none_or(|state| state == record.state)
            && self.doubt.is_none_or(|doubt| doubt == record.doubt.is_some())
            && self.shortest.is_none_or(|shortest| age >= shortest)
            && age <= self.longest
    }
}

/// A part of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageRequest {
    /// Where the page before ended; `None` for the first one.
    pub after: Option<PageCursor>,
    /// How many records are looked at, whether the filter takes them or not.
    pub rows: u32,
}

impl PageRequest {
    /// The number of records that a page looks at unless said otherwise: a few milliseconds of a server's time.
    pub const ROWS: u32 = 1_000;
}

impl Default for PageRequest {
    /// The first [`ROWS`](Self::ROWS) records.
    fn default() -> Self {
        Self { after: None, rows: Self::ROWS }
    }
}

/// The place in a store's order where a page has ended. It says nothing to anybody but that kind of store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageCursor(Vec<u8>);

impl PageCursor {
    /// A store's own bytes.
    pub fn from_bytes(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// The bytes that [`from_bytes`](Self::from_bytes) took.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The records of a page that the filter takes: none, often enough, and yet there is a next page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordPage {
    /// In an order of the store's own.
    pub records: Vec<ListedRecord>,
    /// Where the next page begins; `None` behind the last one.
    pub next: Option<PageCursor>,
}

/// A record that was found, as it stood then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedRecord {
    /// Whose it is.
    pub key: ListedKey,
    /// The record; an error where this version does not understand it.
    pub record: Result<Record, RecordError>,
    /// How long its lease lasted still; nothing where nobody held one.
    pub remaining: Duration,
    /// The time by the store's clock, since the epoch in which fences count.
    pub now: Duration,
}

impl ListedRecord {
    /// The time by the store's clock.
    pub fn seen_at(&self) -> SystemTime {
        UNIX_EPOCH.checked_add(self.now).unwrap_or(UNIX_EPOCH)
    }
}

/// The name of a record as far as the store has it.
#[derive(Clone, PartialEq, Eq)]
pub enum ListedKey {
    /// All of it.
    Whole(RecordKey),
    /// A database keeps the head and the digest of a key that is too long for its index.
    Shortened {
        /// The namespace, unless it is that long itself.
        namespace: Option<Namespace>,
        /// The bytes that are stored instead.
        stored: Vec<u8>,
    },
}

impl ListedKey {
    /// The namespace, where it is known.
    pub fn namespace(&self) -> Option<&Namespace> {
        match self {
            Self::Whole(key) => Some(key.namespace()),
            Self::Shortened { namespace, .. } => namespace.as_ref(),
        }
    }
}

/// The key itself, for an operator's eyes; `Debug` shows a hash.
impl fmt::Display for ListedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(key) => {
                write!(f, "{} in {}", key.key().to_string_lossy(), key.namespace().to_string_lossy())
            }
            Self::Shortened { namespace, stored } => {
                let namespace = namespace.as_ref().map(Namespace::to_string_lossy).unwrap_or_default();
                let (_, digest) = stored.split_at(stored.len().saturating_sub(32));
                f.write_str("a long key with the SHA-256 ")?;
                digest.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
                write!(f, " in {namespace}")
            }
        }
    }
}

impl fmt::Debug for ListedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(key) => key.fmt(f),
            Self::Shortened { namespace, .. } => {
                f.debug_struct("Shortened").field("namespace", namespace).finish_non_exhaustive()
            }
        }
    }
}

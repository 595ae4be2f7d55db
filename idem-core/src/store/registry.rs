//! Books beside the records: who claims, and what people have decided.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::future::BoxFuture;

use super::StoreError;
use crate::doubt::MemberId;
use crate::key::RecordKey;

/// The members that claim in a store, and the trail of what people have decided about its records.
///
/// All times are the store's own clock's.
///
/// # Cancel safety
/// As the store's: a dropped call may or may not have had its effect.
pub trait Registry: Send + Sync + 'static {
    /// Says that a member lives: it is there from now on for its life, and was seen now. When it was seen first stays.
    ///
    /// Members whose life is over go as a side effect.
    fn enrol<'a>(&'a self, member: &'a Enrolment) -> BoxFuture<'a, Result<(), StoreError>>;

    /// The members whose life is not over, in no order.
    fn members(&self) -> BoxFuture<'_, Result<Vec<MemberEntry>, StoreError>>;

    /// Adds an entry to the trail.
    fn append<'a>(&'a self, entry: &'a AuditEntry) -> BoxFuture<'a, Result<(), StoreError>>;

    /// The newest entries of the trail, or the newest before one; the newest first.
    fn trail<'a>(
        &'a self,
        before: Option<&'a AuditPlace>,
        rows: u32,
    ) -> BoxFuture<'a, Result<Vec<AuditedEntry>, StoreError>>;
}

/// A member's word of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrolment {
    /// The member, as its records have it.
    pub member: MemberId,
    /// The host's name.
    pub host: String,
    /// The process' number on that host.
    pub process: u32,
    /// The version of idem.
    pub version: String,
    /// The consumer group, or what else claims.
    pub group: String,
    /// How long it is remembered from now on: as long as a record of its own may be there.
    pub life: Duration,
}

impl Enrolment {
    /// This process, as that group.
    pub fn of_this_process(member: MemberId, group: impl Into<String>, life: Duration) -> Self {
        Self {
            member,
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            process: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            group: group.into(),
            life,
        }
    }
}

/// A member of the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberEntry {
    /// The member, as its records have it.
    pub member: MemberId,
    /// The host's name.
    pub host: String,
    /// The process' number on that host.
    pub process: u32,
    /// The version of idem.
    pub version: String,
    /// The consumer group, or what else claims.
    pub group: String,
    /// When it was seen first.
    pub started: SystemTime,
    /// When it was seen last.
    pub seen: SystemTime,
}

impl fmt::Display for MemberEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { member, host, process, version, group, started, seen } = self;
        let (started, seen) =
            (humantime::format_rfc3339_seconds(*started), humantime::format_rfc3339_seconds(*seen));
        write!(
            f,
            "{member} ({group} on {host}, process {process}, idem {version}, from {started}, last seen {seen})"
        )
    }
}

/// A decision of a person's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PersonsDecision {
    /// The work is done: it is not run again.
    Done,
    /// It is to be run: nothing happened, or it may happen again.
    Run,
    /// A lease is taken away from its holder.
    Release,
    /// The record is forgotten.
    Purge,
}

impl PersonsDecision {
    /// All decisions.
    pub const ALL: [Self; 4] = [Self::Done, Self::Run, Self::Release, Self::Purge];

    /// The decision's name in the trail and in events.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Run => "run",
            Self::Release => "release",
            Self::Purge => "purge",
        }
    }

    /// The decision of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == name)
    }
}

impl fmt::Display for PersonsDecision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A step of a decision, for the trail.
#[derive(Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// Equal in the entries of one decision.
    pub number: u64,
    /// Who decides.
    pub who: String,
    /// The decision.
    pub decision: PersonsDecision,
    /// Whether a live lease, or a completion, is no obstacle.
    pub forced: bool,
    /// Whose record.
    pub key: RecordKey,
    /// Why, in that person's words; and in a second entry how it ended.
    pub text: String,
    /// Whether this is the end of it.
    pub is_end: bool,
}

/// The key is shown as a hash.
impl fmt::Debug for AuditEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditEntry")
            .field("number", &self.number)
            .field("who", &self.who)
            .field("decision", &self.decision)
            .field("forced", &self.forced)
            .field("key", &self.key)
            .field("is_end", &self.is_end)
            .finish_non_exhaustive()
    }
}

/// An entry of the trail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditedEntry {
    /// Its place in the trail.
    pub place: AuditPlace,
    /// When it was written.
    pub at: SystemTime,
    /// Its text.
    pub entry: AuditEntry,
}

/// A place in the trail. It says nothing to anybody but that kind of store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditPlace(pub(crate) Vec<u8>);

/// A time in µs since the epoch.
fn time(micros: u64) -> SystemTime {
    UNIX_EPOCH.checked_add(Duration::from_micros(micros)).unwrap_or(UNIX_EPOCH)
}

/// The entry of a member that was seen first and last at these µs since the epoch.
pub(super) fn enrolled(enrolment: Enrolment, started_micros: u64, seen_micros: u64) -> MemberEntry {
    let Enrolment { member, host, process, version, group, life: _ } = enrolment;
    MemberEntry {
        member,
        host,
        process,
        version,
        group,
        started: time(started_micros),
        seen: time(seen_micros),
    }
}

/// An entry of the trail that was written at these µs since the epoch.
pub(super) fn audited(place: AuditPlace, at_micros: u64, entry: AuditEntry) -> AuditedEntry {
    AuditedEntry { place, at: time(at_micros), entry }
}

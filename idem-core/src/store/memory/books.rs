//! The registry of members and the trail of decisions. Both go with the process, as the records do.

use std::collections::{HashMap, VecDeque};
use std::future::ready;
use std::time::Duration;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;

use super::MemoryStore;
use crate::doubt::MemberId;
use crate::store::registry::{audited, enrolled};
use crate::store::{AuditEntry, AuditPlace, AuditedEntry, Enrolment, MemberEntry, Registry, StoreError};

/// The trail keeps the newest ones.
const MOST_ENTRIES: usize = 10_000;

#[derive(Default)]
pub(super) struct Books {
    members: Mutex<HashMap<MemberId, EnrolledMember>>,
    trail: Mutex<AuditTrail>,
}

struct EnrolledMember {
    enrolment: Enrolment,
    started_micros: u64,
    seen_micros: u64,
    /// By the clock of leases and retention.
    expires: Duration,
}

#[derive(Default)]
struct AuditTrail {
    written: u64,
    entries: VecDeque<AuditedEntry>,
}

impl Registry for MemoryStore {
    fn enrol<'a>(&'a self, member: &'a Enrolment) -> BoxFuture<'a, Result<(), StoreError>> {
        let now = self.now();
        let mut members = self.0.books.members.lock();
        members.retain(|_, known| known.expires > now.clock);
        let new = || EnrolledMember {
            enrolment: member.clone(),
            started_micros: now.wall_micros,
            seen_micros: now.wall_micros,
            expires: Duration::ZERO,
        };
        let known = members.entry(member.member).or_insert_with(new);
        known.seen_micros = now.wall_micros;
        known.expires = now.clock.saturating_add(member.life);
        drop(members);
        Box::pin(ready(Ok(())))
    }

    fn members(&self) -> BoxFuture<'_, Result<Vec<MemberEntry>, StoreError>> {
        let now = self.now();
        let members = self.0.books.members.lock();
        let live = members.values().filter(|known| known.expires > now.clock);
        let entry = |known: &EnrolledMember| {
            enrolled(known.enrolment.clone(), known.started_micros, known.seen_micros)
        };
        let entries = live.map(entry).collect();
        drop(members);
        Box::pin(ready(Ok(entries)))
    }

    fn append<'a>(&'a self, entry: &'a AuditEntry) -> BoxFuture<'a, Result<(), StoreError>> {
        let now = self.now();
        let mut trail = self.0.books.trail.lock();
        trail.written = trail.written.saturating_add(1);
        let place = AuditPlace(trail.written.to_be_bytes().to_vec());
        trail.entries.push_front(audited(place, now.wall_micros, entry.clone()));
        trail.entries.truncate(MOST_ENTRIES);
        drop(trail);
        Box::pin(ready(Ok(())))
    }

    fn trail<'a>(
        &'a self,
        before: Option<&'a AuditPlace>,
        rows: u32,
    ) -> BoxFuture<'a, Result<Vec<AuditedEntry>, StoreError>> {
        let trail = self.0.books.trail.lock();
        // The places are numbers of eight bytes, whose order is that of their bytes.
        let older = trail.entries.iter().filter(|entry| before.is_none_or(|before| entry.place.0 < before.0));
        let entries = older.take(usize::try_from(rows).unwrap_or(usize::MAX)).cloned().collect();
        drop(trail);
        Box::pin(ready(Ok(entries)))
    }
}

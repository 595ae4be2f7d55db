//! Expired records are deleted, a few at a time and by one member at a time.
//!
//! The purger walks over the table in the order of its primary key, so that the time of expiry needs no index: with one,
//! every completion would be another write to it. Who the purger is, and how far it has come, is a row of the second
//! table: a member that goes on where another one ended has the row's lease, which runs out when the member dies.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::dialect::{Connection, PurgedRange, Reply, StoreDialect};
use super::link::{ConnectionWork, SqlLink};
use super::{SqlStoreCore, micros};
use crate::clock::{Later as _, OF_A_PAUSE, OutOfBounds, within};
use crate::panics::tireless;
use crate::record::Token;
use crate::store::StoreError;

/// How long a purger that died keeps others from purging. Renewed long before.
const LEASE: Duration = Duration::from_mins(1);
/// How often the purger says that it is alive and how far it has come.
const RENEWED: Duration = Duration::from_secs(5);
/// The pause after a range is as long as this many times the range took: so the purge takes a small part of what the
/// database can do, however slow that is.
const PAUSE: u32 = 4;
const SHORTEST_PAUSE: Duration = Duration::from_millis(5);
/// Not to hammer a server that fails.
const AFTER_ERROR: Duration = Duration::from_secs(5);

/// How expired records are deleted from a SQL store.
///
/// An expired record counts as absent whether it was deleted or not, so this is about disk space only. One member at a
/// time purges; where it dies, another one goes on within two minutes. It walks over the table in ranges of the primary key and
/// deletes what has expired in each, one short statement a range, and rests four times as long as the range took, 5 ms at least.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purge {
    every: Duration,
    rows: u32,
    on: bool,
}

impl Default for Purge {
    /// A walk every ten minutes, in ranges of 1,000 records.
    fn default() -> Self {
        Self { every: Duration::from_mins(10), rows: 1_000, on: true }
    }
}

impl Purge {
    /// This member never purges: another one does, or an operator drops partitions.
    pub fn off() -> Self {
        Self { on: false, ..Self::default() }
    }

    pub(super) fn is_on(&self) -> bool {
        self.on
    }

    /// How long after the beginning of a walk over the table the next one begins, at the earliest: ten minutes unless
    /// said otherwise. Less than a millisecond is an error when the store connects.
    #[must_use]
    pub fn every(mut self, time: Duration) -> Self {
        self.every = time;
        self
    }

    pub(super) fn check(&self) -> Result<(), OutOfBounds> {
        within("purge.every", self.every, OF_A_PAUSE)
    }

    /// How many records a range has: 1,000 unless said otherwise. So many are deleted by one statement at most.
    #[must_use]
    pub fn rows(mut self, rows: u32) -> Self {
        self.rows = rows.max(1);
        self
    }
}

/// Tries whether the user may take the lead: for no time, so that nobody is kept from it.
pub(super) async fn probe<D: StoreDialect>(link: &SqlLink<D>) -> Result<(), StoreError> {
    let holder = Token::random().to_bytes();
    link.call(&PurgeLease { holder: &holder, lease: Duration::ZERO, position: None }).await.map(drop)
}

/// Purges until the store is dropped.
pub(super) async fn run<D: StoreDialect>(core: Weak<SqlStoreCore<D>>, settings: Purge) {
    if !settings.on {
        return;
    }
    let purger = Purger { core, holder: Token::random().to_bytes(), settings };
    loop {
        let begun = Instant::now();
        let next = match purger.walk().await {
            Ok(WalkEnd::Over) => purger.settings.every.saturating_sub(begun.elapsed()),
            // It may die, and then its lease is over before long.
            Ok(WalkEnd::AnotherPurges) => purger.settings.every.min(LEASE),
            Ok(WalkEnd::StoreGone) => return,
            Err(error) => {
                tracing::warn!(store = D::NAME, %error, "expired records could not be purged; it is tried again");
                AFTER_ERROR
            }
        };
        if !purger.rest(next).await {
            return;
        }
    }
}

struct Purger<D: StoreDialect> {
    core: Weak<SqlStoreCore<D>>,
    holder: [u8; 16],
    settings: Purge,
}

enum WalkEnd {
    /// To the table's end.
    Over,
    AnotherPurges,
    StoreGone,
}

impl<D: StoreDialect> Purger<D> {
    /// One walk over the table, from where the last purger ended.
    async fn walk(&self) -> Result<WalkEnd, StoreError> {
        let start = Instant::now();
        let Some(mut behind) = self.lead(LEASE, None).await? else { return Ok(self.not_leading()) };
        let (mut led, mut deleted) = (start, 0);
        loop {
            let begun = Instant::now();
            let Some(core) = self.core.upgrade() else { return Ok(WalkEnd::StoreGone) };
            let range = core.link.call(&PurgeRange { behind: &behind, rows: self.settings.rows }).await?;
            drop(core);
            deleted += range.deleted;
            metrics::counter!("idem_store_purged_total").increment(range.deleted);
            let Some(end) = range.end else { break };
            behind = end;
            if led.elapsed() >= RENEWED {
                led = Instant::now();
                if self.lead(LEASE, Some(&behind)).await?.is_none() {
                    return Ok(self.not_leading());
                }
            }
            sleep(pause(begun.elapsed())).await;
        }
        tracing::debug!(store = D::NAME, deleted, "walked over all records");
        // Until the next walk is due, so that no other member begins one before.
        self.lead(self.settings.every.saturating_sub(start.elapsed()), Some(&[])).await?;
        Ok(WalkEnd::Over)
    }

    /// Where to begin; `None` where another member purges, or the store is gone.
    async fn lead(&self, lease: Duration, position: Option<&[u8]>) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(core) = self.core.upgrade() else { return Ok(None) };
        core.link.call(&PurgeLease { holder: &self.holder, lease, position }).await
    }

    fn not_leading(&self) -> WalkEnd {
        if self.core.strong_count() == 0 { WalkEnd::StoreGone } else { WalkEnd::AnotherPurges }
    }

    /// Waits. `false` when the store is gone.
    async fn rest(&self, time: Duration) -> bool {
        let until = Instant::now().later(time);
        while Instant::now() < until {
            if self.core.strong_count() == 0 {
                return false;
            }
            sleep(until.saturating_duration_since(Instant::now()).min(Duration::from_secs(1))).await;
        }
        true
    }
}

/// The rest behind a range that took so long.
fn pause(took: Duration) -> Duration {
    took.saturating_mul(PAUSE).max(SHORTEST_PAUSE)
}

pub(super) struct PurgeLease<'a> {
    pub(super) holder: &'a [u8],
    pub(super) lease: Duration,
    pub(super) position: Option<&'a [u8]>,
}

impl<D: StoreDialect> ConnectionWork<D> for PurgeLease<'_> {
    type Output = Option<Vec<u8>>;

    fn run(&self, dialect: &D, on: &mut Connection<D>) -> impl Reply<Self::Output> {
        dialect.lead(on, self.holder, micros(self.lease), self.position)
    }
}

struct PurgeRange<'a> {
    behind: &'a [u8],
    rows: u32,
}

impl<D: StoreDialect> ConnectionWork<D> for PurgeRange<'_> {
    type Output = PurgedRange;

    fn run(&self, dialect: &D, on: &mut Connection<D>) -> impl Reply<PurgedRange> {
        dialect.purge(on, self.behind, i64::from(self.rows))
    }
}

/// Starts the purge of a store on idem's runtime; it ends with the store.
pub(super) fn start<D: StoreDialect>(core: &Arc<SqlStoreCore<D>>, settings: Purge) {
    let core = Arc::downgrade(core);
    crate::runtime::handle().spawn(tireless("purge", move || run(core.clone(), settings.clone())));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers that the documentation of the stores says.
    #[test]
    fn a_purge_is_as_it_is_documented() {
        let default = Purge::default();
        assert_eq!((default.every, default.rows, default.on), (Duration::from_mins(10), 1_000, true));
        assert_eq!(pause(Duration::from_millis(7)), Duration::from_millis(28));
        assert_eq!(pause(Duration::ZERO), Duration::from_millis(5));
        // The lease that a dead purger leaves, and the longest pause between two looks at it.
        assert!(LEASE.saturating_add(LEASE.min(default.every)) <= Duration::from_mins(2));
    }
}

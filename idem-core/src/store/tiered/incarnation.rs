//! Which life of a database an answer is about.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use xxhash_rust::xxh3::xxh3_128;

use crate::clock::Clock;
use crate::panics::tireless;
use crate::runtime;
use crate::store::{Store, StoreError};

/// How often the database is asked.
const EVERY: Duration = Duration::from_millis(500);
/// How long its word counts.
const FRESH: Duration = Duration::from_secs(2);

/// Tells the lives of a database apart: another server, another start of it, another line of its history after a failover or a
/// restore, or an epoch that an operator has begun. A completion of one life may be unknown to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Incarnation([u8; 16]);

impl Incarnation {
    /// Of everything that tells them apart.
    pub fn of(identity: impl AsRef<[u8]>) -> Self {
        Self(xxh3_128(identity.as_ref()).to_be_bytes())
    }

    pub(super) fn to_bytes(self) -> [u8; 16] {
        self.0
    }
}

/// Asks a database for its incarnation again and again, for as long as this lives.
pub(super) struct IncarnationKeeper(Arc<IncarnationKeeperInner>);

struct IncarnationKeeperInner {
    last: Mutex<Option<IncarnationReport>>,
    /// How many calls have failed so far.
    failures: AtomicU64,
    doubt: Notify,
}

impl IncarnationKeeperInner {
    /// The counts that must not have changed for a report to count.
    fn trouble(&self, interruptions: u64) -> (u64, u64) {
        (self.failures.load(Ordering::Acquire), interruptions)
    }

    async fn ask(&self, database: &dyn Store) -> Result<(), StoreError> {
        let (asked, trouble) = (Clock::boot().now(), self.trouble(database.interruptions()));
        let answer = database.incarnation().await;
        let word =
            |incarnation: &Incarnation| IncarnationReport { incarnation: *incarnation, asked, trouble };
        *self.last.lock() = answer.as_ref().ok().map(word);
        answer.map(drop)
    }
}

/// The database's last report.
#[derive(Clone, Copy)]
struct IncarnationReport {
    incarnation: Incarnation,
    /// By the clock that goes on while the machine sleeps: the database may have died meanwhile.
    asked: Duration,
    /// How often it had failed until then.
    trouble: (u64, u64),
}

impl IncarnationKeeper {
    pub(super) async fn start(database: &Arc<dyn Store>) -> Result<Self, StoreError> {
        let inner = Arc::new(IncarnationKeeperInner {
            last: Mutex::default(),
            failures: AtomicU64::new(0),
            doubt: Notify::new(),
        });
        inner.ask(&**database).await?;
        let (weak, database) = (Arc::downgrade(&inner), Arc::downgrade(database));
        runtime::handle().spawn(tireless("incarnation", move || keep(weak.clone(), database.clone())));
        Ok(Self(inner))
    }

    /// The incarnation of a database that was not heard from so often so far; none where it is not known just now.
    ///
    /// A store makes broken connections anew, so that a server can have crashed and come back without a failed call: the word
    /// from before that does not count.
    pub(super) fn now(&self, interruptions: u64) -> Option<Incarnation> {
        let word = (*self.0.last.lock())?;
        if word.trouble != self.0.trouble(interruptions) {
            self.0.doubt.notify_one();
            return None;
        }
        (Clock::boot().now().saturating_sub(word.asked) < FRESH).then_some(word.incarnation)
    }

    /// The database failed, and may be another one when it is back.
    pub(super) fn doubt(&self) {
        self.0.failures.fetch_add(1, Ordering::AcqRel);
        self.0.doubt.notify_one();
    }
}

async fn keep(inner: Weak<IncarnationKeeperInner>, database: Weak<dyn Store>) {
    loop {
        {
            let Some(inner) = inner.upgrade() else { return };
            // A doubt is no reason to ask without a pause, while the database is away.
            let _ = timeout(EVERY, inner.doubt.notified()).await;
        }
        sleep(EVERY / 10).await;
        let (Some(inner), Some(database)) = (inner.upgrade(), database.upgrade()) else { return };
        // Where it fails, no word counts.
        let _ = inner.ask(&*database).await;
    }
}

//! Which life of a database an answer is about.

use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};
use xxhash_rust::xxh3::xxh3_128;

use crate::runtime;
use crate::store::{Store, StoreError};

/// How often the database is asked.
const EVERY: Duration = Duration::from_millis(500);
/// How long its word counts.
const FRESH: Duration = Duration::from_secs(2);

/// Tells the lives of a database apart: another server, another line of its history after a failover or a restore, or an epoch
/// that an operator has begun. What was completed in one life may be unknown to the next.
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
pub(super) struct Keeper(Arc<Inner>);

struct Inner {
    /// The last answer, and when it was asked for.
    last: Mutex<Option<(Incarnation, Instant)>>,
    doubt: Notify,
}

impl Keeper {
    pub(super) async fn start(database: &Arc<dyn Store>) -> Result<Self, StoreError> {
        let asked = Instant::now();
        let incarnation = database.incarnation().await?;
        let inner = Arc::new(Inner { last: Mutex::new(Some((incarnation, asked))), doubt: Notify::new() });
        runtime::handle().spawn(keep(Arc::downgrade(&inner), Arc::downgrade(database)));
        Ok(Self(inner))
    }

    /// The incarnation; none where that is not known just now.
    pub(super) fn now(&self) -> Option<Incarnation> {
        let last = *self.0.last.lock();
        last.filter(|(_, asked)| asked.elapsed() < FRESH).map(|(incarnation, _)| incarnation)
    }

    /// The database failed, and may be another one when it is back.
    pub(super) fn doubt(&self) {
        *self.0.last.lock() = None;
        self.0.doubt.notify_one();
    }
}

async fn keep(inner: Weak<Inner>, database: Weak<dyn Store>) {
    loop {
        {
            let Some(inner) = inner.upgrade() else { return };
            // A doubt is no reason to ask without a pause, while the database is away.
            let _ = timeout(EVERY, inner.doubt.notified()).await;
        }
        sleep(EVERY / 10).await;
        let (Some(inner), Some(database)) = (inner.upgrade(), database.upgrade()) else { return };
        let asked = Instant::now();
        let answer = database.incarnation().await;
        *inner.last.lock() = answer.ok().map(|incarnation| (incarnation, asked));
    }
}

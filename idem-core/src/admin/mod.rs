//! For operators: why a key's work is not done, and what is to become of it.
//!
//! ```
//! use std::sync::Arc;
//!
//! use idem_core::admin::Admin;
//! use idem_core::store::RecordFilter;
//! use idem_core::{IdempotencyKey, MemoryStore, Namespace, RecordKey};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let store = MemoryStore::new();
//! let admin = Admin::new(Arc::new(store), "alice");
//!
//! // All that is in doubt in the group `campaign` of the default deployment.
//! let group = Namespace::new(["", "campaign"]);
//! let mut doubts = admin.list(RecordFilter::new().within(group).in_doubt(true));
//! while let Some(found) = doubts.next().await? {
//!     println!("{}", found.key);
//! }
//!
//! // Why is order 7 not paid? And then: it is, the provider says.
//! let key = RecordKey::new(Namespace::new(["", "campaign", "orders", "PAID"]), IdempotencyKey::new("order-7")?);
//! if let Some(report) = admin.show(&key).await? {
//!     println!("{report}");
//! }
//! admin.done(&key, "receipt 4711 at the provider").await?;
//! # Ok(())
//! # }
//! ```
//!
//! # How a decision is made
//! A person's decision is a claim like any other: it takes the key's lease with a token of its own, changes the record under it,
//! and gives the lease back. So it races safely against consumers, duplicates, replays, purges and other people: whoever was
//! first has it, and the other one is told. A live lease is refused, unless the decision is [`forced`](PendingDecision::forced):
//! then the holder's lease ends now, its run is in doubt from then on, and the holder cancels it when it notices, at its next
//! renewal. **Nobody can take back what a run under way has done already.**
//!
//! Before a decision changes anything it is written to the trail in the same store, with who and why; its end is written behind it. A
//! trail without an end says that nobody knows whether the change was made: [`Admin::show`] says it.

mod decide;
mod error;
mod listing;
mod report;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use self::decide::{DecisionEffect, PendingDecision};
pub use self::error::AdminError;
pub use self::listing::Listing;
pub use self::report::RecordReport;
use crate::doubt::MemberId;
use crate::key::RecordKey;
use crate::policy::Policy;
use crate::store::{
    AuditPlace, AuditedEntry, ListedRecord, MemberEntry, PageRequest, PersonsDecision, RecordFilter,
    Registry, Store, StoreError,
};

/// A person at a store.
///
/// Each call asks the store directly; nothing waits in the background.
#[derive(Clone)]
pub struct Admin {
    store: Arc<dyn Store>,
    who: Arc<str>,
    member: MemberId,
    retention: Duration,
}

impl Admin {
    /// A person, by the name that the trail is to have.
    pub fn new(store: Arc<dyn Store>, who: impl Into<Arc<str>>) -> Self {
        let retention = Policy::default().retention;
        Self { store, who: who.into(), member: MemberId::random(), retention }
    }

    /// How long decisions are remembered: four days unless said otherwise. Give it the handler's retention where that is another.
    #[must_use]
    pub fn retention(self, retention: Duration) -> Self {
        Self { retention, ..self }
    }

    /// The record of a key, with the members that it names. `None` where there is none, or its retention is over.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn show(&self, key: &RecordKey) -> Result<Option<RecordReport>, AdminError> {
        let Some(found) = self.find(key).await? else { return Ok(None) };
        Ok(Some(RecordReport::new(found, self.members().await?)))
    }

    /// The records that a filter takes, as they are asked for.
    pub fn list(&self, filter: RecordFilter) -> Listing {
        Listing::new(self.store.clone(), filter)
    }

    /// The members that claim in this store, or have claimed while a record of theirs may be there.
    ///
    /// # Errors
    /// The store does not answer, or keeps no registry.
    pub async fn members(&self) -> Result<Vec<MemberEntry>, AdminError> {
        Ok(self.registry()?.members().await?)
    }

    /// The newest entries of the trail of decisions, or the newest before one; the newest first.
    ///
    /// # Errors
    /// The store does not answer, or keeps no trail.
    pub async fn trail(
        &self,
        before: Option<&AuditPlace>,
        rows: u32,
    ) -> Result<Vec<AuditedEntry>, AdminError> {
        Ok(self.registry()?.trail(before, rows).await?)
    }

    /// The work of this key is done: the record is completed, its doubt is over, and no message of the key runs the handler within
    /// the retention. Also where there is no record yet.
    pub fn done<'a>(&'a self, key: &'a RecordKey, reason: impl Into<String>) -> PendingDecision<'a> {
        PendingDecision::of(self, key, PersonsDecision::Done, reason.into())
    }

    /// The work of this key is to be done: its doubt is over, and its attempts begin anew. Whatever message of the key comes next
    /// runs the handler; a dead letter comes when somebody sends it again.
    ///
    /// A completed key is refused unless forced: then its completion is forgotten.
    pub fn run<'a>(&'a self, key: &'a RecordKey, reason: impl Into<String>) -> PendingDecision<'a> {
        PendingDecision::of(self, key, PersonsDecision::Run, reason.into())
    }

    /// The lease of this key ends now; attempts and doubt stay, and a run that was under way is in doubt. It is for leases that are
    /// long, and whose holder is gone.
    pub fn release<'a>(&'a self, key: &'a RecordKey, reason: impl Into<String>) -> PendingDecision<'a> {
        PendingDecision::of(self, key, PersonsDecision::Release, reason.into())
    }

    /// The record of this key is forgotten: completion, attempts and last run. One in doubt is refused unless forced, because
    /// [`done`](Self::done) and [`run`](Self::run) say what is meant.
    pub fn purge<'a>(&'a self, key: &'a RecordKey, reason: impl Into<String>) -> PendingDecision<'a> {
        PendingDecision::of(self, key, PersonsDecision::Purge, reason.into())
    }

    async fn find(&self, key: &RecordKey) -> Result<Option<ListedRecord>, StoreError> {
        let page = self.store.list(&RecordFilter::of(key.clone()), &PageRequest::default()).await?;
        Ok(page.records.into_iter().next())
    }

    fn registry(&self) -> Result<Arc<dyn Registry>, StoreError> {
        self.store.registry().ok_or_else(|| {
            StoreError::config(format!(
                "the store `{}` keeps no books of members and decisions",
                self.store.name()
            ))
        })
    }
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin")
            .field("store", &self.store.name())
            .field("who", &self.who)
            .finish_non_exhaustive()
    }
}

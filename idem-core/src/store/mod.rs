//! Where records live.
//!
//! A [`Store`] keeps one [`Record`] for each key and changes it in single steps. Its interface is batch-first:
//! every operation takes a slice and answers for each entry by itself. The rules that every store must keep
//! are the tests of [`conformance`], which a store from outside of this workspace can run as well.

#[cfg(feature = "conformance")]
pub mod conformance;
mod error;
pub(crate) mod guarded;
mod list;
#[cfg(feature = "memory")]
mod memory;
#[cfg(feature = "mysql")]
mod mysql;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(any(feature = "redis", feature = "postgres", feature = "mysql", feature = "sqlite"))]
#[cfg_attr(
    not(any(feature = "redis", feature = "postgres", feature = "mysql")),
    allow(dead_code, reason = "a file needs the key alone")
)]
mod probe;
#[cfg(feature = "redis")]
mod redis;
mod registry;
#[cfg(any(feature = "redis", feature = "postgres", feature = "mysql", feature = "sqlite"))]
mod remote;
#[cfg(any(feature = "postgres", feature = "mysql", feature = "sqlite"))]
#[cfg_attr(
    not(all(feature = "postgres", feature = "mysql", feature = "sqlite")),
    allow(dead_code, unused_imports, unused_macros, reason = "each database needs a part of it")
)]
mod sql;
#[cfg(feature = "sqlite")]
mod sqlite;
mod tiered;
mod transaction;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use crate::doubt::{Doubt, MemberId, MessageId};
use crate::key::{Fingerprint, RecordKey};
use crate::record::{Fence, LastRun, Record, Token};

pub use self::error::StoreError;
pub use self::list::{ListedKey, ListedRecord, PageCursor, PageRequest, RecordFilter, RecordPage};
#[cfg(all(feature = "memory", feature = "conformance"))]
#[doc(hidden)]
pub use self::memory::RecordPlace;
#[cfg(feature = "memory")]
pub use self::memory::{MemoryStore, MemoryStoreBuilder};
#[cfg(feature = "mysql")]
pub use self::mysql::{MySqlOutbox, MySqlOutboxBuilder, MySqlStore, MySqlStoreBuilder};
#[cfg(feature = "postgres")]
pub use self::postgres::{
    DriverResult, PostgresDriver, PostgresOutbox, PostgresOutboxBuilder, PostgresStore, PostgresStoreBuilder,
};
#[cfg(feature = "redis")]
pub use self::redis::{RedisStore, RedisStoreBuilder};
pub use self::registry::{
    AuditEntry, AuditPlace, AuditedEntry, Enrolment, MemberEntry, PersonsDecision, Registry,
};
#[cfg(any(feature = "postgres", feature = "mysql", feature = "sqlite"))]
pub use self::sql::Purge;
#[cfg(feature = "sqlite")]
pub use self::sqlite::{SqliteOutbox, SqliteOutboxBuilder, SqliteStore, SqliteStoreBuilder};
pub use self::tiered::{Incarnation, TieredStore};
pub use self::transaction::{ConnectionType, SavepointEnd, Transaction, Transactions};

/// The answers of a batch, one for each entry and in its order.
///
/// The outer error says that the batch failed as a whole and that what it changed is unknown: the engine
/// repeats it, which is safe because every operation gives the same answer to the same token. The inner error
/// concerns one entry only.
pub type Answers<T> = Result<Vec<Result<T, StoreError>>, StoreError>;

/// Keeps one record for each key and changes it in single, atomic steps.
///
/// Every operation is repeatable with the same token: a lost reply is repaired by asking again. All times are
/// the store's own clock's, never the caller's. A batch may have up to [`Store::max_batch`] entries, and may
/// have equal keys among them, which are treated one after the other in the batch's order.
///
/// A record that the store does not understand is answered with [`StoreError::record`] and left as it is.
///
/// # Cancel safety
/// A dropped future may or may not have had its effect; repeating the call with the same tokens settles it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a store of idem",
    label = "not a store",
    note = "use `MemoryStore`, `RedisStore` or another store of idem, or implement `idem_core::Store` and run its conformance suite"
)]
pub trait Store: Send + Sync + 'static {
    /// A short name for logs and metrics: `"memory"`, `"redis"`, `"postgres"`.
    fn name(&self) -> &'static str;

    /// Where the answers come from.
    fn locality(&self) -> Locality {
        Locality::Remote
    }

    /// The most entries that one call should have.
    fn max_batch(&self) -> usize {
        1_000
    }

    /// The transactions in which handlers can work beside their records, where the store has them.
    fn transactions(&self) -> Option<Arc<dyn Transactions>> {
        None
    }

    /// Which life of the database the store's answers are about, where it can lose what it has answered before. For a cache
    /// in front of it.
    ///
    /// # Errors
    /// The store does not answer, or does not know.
    fn incarnation(&self) -> BoxFuture<'_, Result<Incarnation, StoreError>> {
        let error = StoreError::config(format!(
            "the store `{}` does not tell when it has lost data, so no cache can stand in front of it: take a store in a \
             database",
            self.name()
        ));
        Box::pin(std::future::ready(Err(error)))
    }

    /// How often the store was not heard from so far: a connection broke, or a call had no answer in time. It may be in another
    /// [life](Self::incarnation) since, which a cache in front of it asks before it answers again.
    ///
    /// A store that makes connections anew by itself has to count that here, because no call fails then.
    fn interruptions(&self) -> u64 {
        0
    }

    /// How many connections the store has at most, and so how many calls it works on at once; `None` where that is no
    /// limit. Calls beyond them wait.
    fn connections(&self) -> Option<u32> {
        None
    }

    /// Whether its [`connections`](Self::connections) are of a pool that the program has given it, so that its handlers may
    /// keep all of them busy, and their own leases from being renewed.
    fn shares_connections(&self) -> bool {
        false
    }

    /// The answer to a claim of this key, where the store has one in this process without waiting: a completion in a cache.
    /// The engine asks for it before anything else, and it costs the message neither a permit nor a round trip.
    fn known(&self, key: &RecordKey) -> Option<Claim> {
        let _ = key;
        None
    }

    /// Takes the lease of each key that is absent, released, or whose lease has run out.
    ///
    /// - Completed (and its retention not over): [`Claim::Completed`], nothing changes.
    /// - In progress under another token: [`Claim::InProgress`], nothing changes.
    /// - In progress under the same token: [`Claim::Claimed`] with the same fence and attempt as before, and the
    ///   lease begins anew. So a claim whose reply was lost does not conflict with its own orphan.
    /// - Released under the same token: a late copy of a claim that is over. Nothing changes; the answer is
    ///   [`Claim::InProgress`] with nothing remaining.
    /// - Otherwise [`Claim::Claimed`]: the record is in progress under the request's token, its fence is
    ///   `max(last + 1, clock in µs)`, its attempts, doubt and last run are kept (0 and none where it was absent), its member,
    ///   message and fingerprint are the request's. Where the lease of another token has run out and the key is not in doubt yet,
    ///   that run is from now on: [`DoubtCause::Vanished`](crate::DoubtCause::Vanished), with the fence and the member of its
    ///   claim, and one attempt more than were counted. A doubt that is there stays: nobody knows whether that run had begun.
    ///
    /// The record lives for lease + retention.
    fn claim<'a>(&'a self, batch: &'a [ClaimRequest]) -> BoxFuture<'a, Answers<Claim>>;

    /// Moves the lease of each key to now + lease, where the token holds it, also after it has run out while
    /// nobody has claimed the key since, and ends its doubt where the request names it. [`Answer::Lost`] where it is not in progress
    /// under this token, or in doubt about another run than the named one; nothing changes then.
    fn renew<'a>(&'a self, batch: &'a [RenewRequest]) -> BoxFuture<'a, Answers<Answer>>;

    /// Records that the work is done; doubt and last run go. The record lives for the retention from now on and is not overwritten
    /// before. A store may leave it for up to a hundredth longer, where that saves work.
    ///
    /// [`Answer::Done`] where the key is in progress under this token, also with a lease that has run out; or
    /// where it was completed under this token before; or where there is no record at all, because then nobody
    /// has claimed it since. Else [`Answer::Lost`], and nothing changes.
    fn complete<'a>(&'a self, batch: &'a [CompleteRequest]) -> BoxFuture<'a, Answers<Answer>>;

    /// Gives the lease back. The record stays, for the retention, with its attempts: see [`Attempts`]. The request's doubt and last
    /// run, where it has them, replace the record's.
    ///
    /// [`Answer::Done`] where the key is in progress under this token, also with a lease that has run out, or
    /// was released under this token before (nothing is counted twice). Else [`Answer::Lost`].
    fn release<'a>(&'a self, batch: &'a [ReleaseRequest]) -> BoxFuture<'a, Answers<Answer>>;

    /// The record of a key, for an operator. `None` where there is none or its retention is over.
    fn read<'a>(&'a self, key: &'a RecordKey) -> BoxFuture<'a, Result<Option<Record>, StoreError>>;

    /// Removes the record of a key, whatever its state, for an operator; where a claim is said, only if that is the record's last
    /// one. Whether it was there.
    fn remove<'a>(
        &'a self,
        key: &'a RecordKey,
        claim: Option<Token>,
    ) -> BoxFuture<'a, Result<bool, StoreError>>;

    /// The next records, and of them those that the filter takes, for an operator. Whoever goes on from page to page, until there is
    /// no next one, has seen each record that was there all the time; and once, unless the store's own documentation says
    /// otherwise. Expired ones are left out.
    ///
    /// A page is bounded by the records that are looked at, so it costs the same whatever is found.
    fn list<'a>(
        &'a self,
        filter: &'a RecordFilter,
        page: &'a PageRequest,
    ) -> BoxFuture<'a, Result<RecordPage, StoreError>> {
        let _ = (filter, page);
        let error = StoreError::config(format!("the store `{}` does not list its records", self.name()));
        Box::pin(std::future::ready(Err(error)))
    }

    /// The books beside the records, where the store has them.
    fn registry(&self) -> Option<Arc<dyn Registry>> {
        None
    }
}

/// Where a store's answers come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Locality {
    /// From this process, without waiting: the engine calls the store where it stands.
    InProcess,
    /// Over a connection: the engine gathers batches and calls the store from idem's own runtime.
    Remote,
}

/// One entry of [`Store::claim`].
#[derive(Debug, Clone)]
pub struct ClaimRequest {
    /// Whose lease is asked for.
    pub key: RecordKey,
    /// The claimer's fresh token.
    pub token: Token,
    /// How long the lease is.
    pub lease: Duration,
    /// How long the record lives after the lease.
    pub retention: Duration,
    /// The payload's digest, kept for later claims to compare.
    pub fingerprint: Option<Fingerprint>,
    /// The claimer.
    pub member: MemberId,
    /// The message that the key is claimed for.
    pub message: Option<MessageId>,
}

impl ClaimRequest {
    /// A claim for no message in particular, whose payload is not compared.
    pub fn new(key: RecordKey, token: Token, lease: Duration, retention: Duration, member: MemberId) -> Self {
        Self { key, token, lease, retention, fingerprint: None, member, message: None }
    }
}

/// The answer to one [`ClaimRequest`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// The lease is the caller's.
    Claimed {
        /// The number of this claim.
        fence: Fence,
        /// Which attempt a run now would be: 1 + the counted attempts in the record.
        attempt: u32,
        /// An earlier run that ended without an answer.
        after: Option<Doubt>,
    },
    /// Somebody else holds the lease.
    InProgress {
        /// How long the lease still lasts, by the store's clock.
        remaining: Duration,
        /// The holder's digest of the payload.
        fingerprint: Option<Fingerprint>,
    },
    /// The work is done.
    Completed {
        /// The digest of the payload that it was done for.
        fingerprint: Option<Fingerprint>,
        /// The stored reply.
        reply: Option<Bytes>,
    },
}

/// One entry of [`Store::renew`].
#[derive(Debug, Clone)]
pub struct RenewRequest {
    /// Whose lease moves on.
    pub key: RecordKey,
    /// The holder's token.
    pub token: Token,
    /// How long the lease is from now on.
    pub lease: Duration,
    /// How long the record lives after the lease.
    pub retention: Duration,
    /// The fence of the doubt that is over, where one is: a check has said that nothing happened. One of another run is none that
    /// the check was asked about.
    pub ends_doubt: Option<Fence>,
}

/// One entry of [`Store::complete`].
#[derive(Debug, Clone)]
pub struct CompleteRequest {
    /// The key of the work that was done.
    pub key: RecordKey,
    /// The holder's token.
    pub token: Token,
    /// The claim's fence, for a record that has to be made anew.
    pub fence: Fence,
    /// How long the completion is remembered: the same as in the claim and the renewals of this token.
    pub retention: Duration,
    /// The payload's digest, for a record that has to be made anew.
    pub fingerprint: Option<Fingerprint>,
    /// The holder, and the message that was handled, for a record that has to be made anew.
    pub member: MemberId,
    /// As the member.
    pub message: Option<MessageId>,
    /// A reply to keep.
    pub reply: Option<Bytes>,
}

impl CompleteRequest {
    /// A completion without a reply, for no message in particular.
    pub fn new(key: RecordKey, token: Token, fence: Fence, retention: Duration, member: MemberId) -> Self {
        Self { key, token, fence, retention, fingerprint: None, member, message: None, reply: None }
    }
}

/// One entry of [`Store::release`].
#[derive(Debug, Clone)]
pub struct ReleaseRequest {
    /// The key that is given back.
    pub key: RecordKey,
    /// The holder's token.
    pub token: Token,
    /// How long the number of attempts is remembered.
    pub retention: Duration,
    /// The effect on the number of attempts.
    pub attempts: Attempts,
    /// The doubt that the run leaves, if it ended without an answer.
    pub doubt: Option<Doubt>,
    /// The end of the run, where there was one.
    pub last: Option<LastRun>,
}

impl ReleaseRequest {
    /// A release that leaves no doubt and says nothing of a run.
    pub fn new(key: RecordKey, token: Token, retention: Duration, attempts: Attempts) -> Self {
        Self { key, token, retention, attempts, doubt: None, last: None }
    }
}

/// The effect of a release on the number of attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempts {
    /// Keep it: no run of the handler failed.
    Keep,
    /// Count one: a run of the handler failed.
    Count,
    /// Begin anew: the message became a dead letter, and a replay has all its attempts.
    Reset,
}

/// The answer to a renewal, completion or release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Done, now or by an earlier call with the same token.
    Done,
    /// The token does not hold the key; nothing was changed.
    Lost,
}

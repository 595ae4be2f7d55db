//! The ways of one database.

use std::future::Future;

use std::time::Duration;

use sqlx::error::DatabaseError;
use sqlx::{Database, SqlStr};

use super::codes::KnownCode;
use super::entry::BatchEntry;
use super::found::{KeyRow, RecordRow};
use crate::store::{ClaimRequest, CompleteRequest, ReleaseRequest, RenewRequest, StoreError};

/// A connection of a dialect's database.
pub(in crate::store) type Connection<D> = <<D as StoreDialect>::Db as Database>::Connection;

/// The future of a statement's result.
pub(in crate::store) trait Reply<T>: Future<Output = sqlx::Result<T>> + Send {}

impl<T, F: Future<Output = sqlx::Result<T>> + Send> Reply<T> for F {}

/// The statements of one database. Each takes a connection, so that it can run in somebody's transaction too.
///
/// A batch is sorted by key and no key is twice in it. The rows come in any order; [`found`](super::found) says what
/// they mean.
pub(in crate::store) trait StoreDialect: Send + Sync + Sized + 'static {
    type Db: Database;
    /// For logs and metrics.
    const NAME: &'static str;
    /// For people.
    const TITLE: &'static str;
    /// Whether it is a file of this host, without users and rights.
    const IS_FILE: bool = false;
    /// Prepares a fresh session of idem's own.
    fn prepare(&self, on: &mut Connection<Self>) -> impl Reply<()>;

    /// Whether the server is fit to be a store: its version, and that it can be written.
    fn check(&self, on: &mut Connection<Self>, at: &str) -> impl Reply<Result<(), StoreError>>;

    /// The settings of this session with which the server may forget what it has confirmed.
    fn durability_risks(&self, on: &mut Connection<Self>) -> impl Reply<Vec<DurabilityRisk>>;

    fn claim(
        &self,
        on: &mut Connection<Self>,
        batch: &[BatchEntry<ClaimRequest>],
    ) -> impl Reply<Vec<RecordRow>>;
    /// As [`claim`](Self::claim), with the rows of fences of now alone: the others are to be asked for again.
    fn claim_freshly(
        &self,
        on: &mut Connection<Self>,
        batch: &[BatchEntry<ClaimRequest>],
    ) -> impl Reply<Vec<RecordRow>> {
        async {
            let rows = self.claim(&mut *on, batch).await?;
            self.freshened(on, batch, rows).await
        }
    }
    /// Gives fresh fences to the keys that were claimed with old ones, and leaves out their rows, so that they are asked for
    /// again. The batch is sorted by key.
    fn freshened(
        &self,
        on: &mut Connection<Self>,
        batch: &[BatchEntry<ClaimRequest>],
        mut rows: Vec<RecordRow>,
    ) -> impl Reply<Vec<RecordRow>> {
        async move {
            let mut stale = Vec::new();
            rows.retain(|row| {
                let place = batch.binary_search_by(|entry| entry.key.cmp(&row.standing.key)).ok();
                let entry = place.map(|place| &batch[place]);
                let entry = entry.filter(|entry| row.is_stale(&entry.request, self.prompt()));
                stale.extend(entry.cloned());
                entry.is_none()
            });
            if !stale.is_empty() {
                self.freshen(on, &stale).await?;
            }
            Ok(rows)
        }
    }
    /// A row whose writing took longer may have waited for another transaction, and its clock is from before
    /// ([`RecordRow::is_stale`]).
    fn prompt(&self) -> Duration {
        Duration::MAX
    }
    /// Gives these keys, which were claimed, fences of now.
    fn freshen(&self, on: &mut Connection<Self>, batch: &[BatchEntry<ClaimRequest>]) -> impl Reply<()> {
        let _ = (on, batch);
        async { Ok(()) }
    }
    fn renew(&self, on: &mut Connection<Self>, batch: &[BatchEntry<RenewRequest>])
    -> impl Reply<Vec<KeyRow>>;
    fn complete(
        &self,
        on: &mut Connection<Self>,
        batch: &[BatchEntry<CompleteRequest>],
    ) -> impl Reply<Vec<KeyRow>>;
    fn release(
        &self,
        on: &mut Connection<Self>,
        batch: &[BatchEntry<ReleaseRequest>],
    ) -> impl Reply<Vec<KeyRow>>;

    /// Prepares a connection of idem's own for handlers, for as long as it lives; `wait` as in [`begin`](Self::begin).
    fn adopt(&self, on: &mut Connection<Self>, wait: Duration) -> impl Reply<()> {
        let _ = wait;
        self.prepare_handlers(on)
    }
    /// As [`begin`](Self::begin), on such a connection.
    fn begin_adopted(&self, wait: Duration) -> Option<SqlStr> {
        self.begin(wait)
    }
    /// Prepares a connection of a pool for handlers, and undoes that where it goes back.
    fn prepare_handlers(&self, on: &mut Connection<Self>) -> impl Reply<()> {
        let _ = on;
        async { Ok(()) }
    }
    fn rest_handlers(&self, on: &mut Connection<Self>) -> impl Reply<()> {
        let _ = on;
        async { Ok(()) }
    }
    /// The beginning of a transaction that waits for another's claim no longer than this; `None` for the usual one.
    ///
    /// Once the transaction has ended, also by the database's own will, the session writes nothing: a statement that would
    /// commit by itself fails with what is [`SqlErrorMeaning::Ended`](super::meaning::SqlErrorMeaning::Ended).
    fn begin(&self, wait: Duration) -> Option<SqlStr>;
    /// Also keeps the session from writing outside of the transaction that was begun, until
    /// [`lift_guard`](Self::lift_guard) ends that for its commit.
    fn guard(&self, on: &mut Connection<Self>) -> impl Reply<()> {
        let _ = on;
        async { Ok(()) }
    }
    fn lift_guard(&self, on: &mut Connection<Self>) -> impl Reply<()> {
        let _ = on;
        async { Ok(()) }
    }
    /// As [`claim`](Self::claim) in a transaction that was begun so; [`claimed`](Self::claimed) is then a part of it.
    fn claim_inside(
        &self,
        on: &mut Connection<Self>,
        batch: &[BatchEntry<ClaimRequest>],
    ) -> impl Reply<Vec<RecordRow>> {
        async {
            let rows = self.claim(&mut *on, batch).await?;
            self.claimed(on).await?;
            Ok(rows)
        }
    }
    /// Lets the handler's statements wait for as long as they do elsewhere.
    fn claimed(&self, on: &mut Connection<Self>) -> impl Reply<()> {
        let _ = on;
        async { Ok(()) }
    }
    /// Completes the records that this transaction has claimed. How many records that were.
    fn finish(&self, on: &mut Connection<Self>, batch: &[BatchEntry<CompleteRequest>]) -> impl Reply<u64>;

    /// The record of a key, unless it has expired.
    fn read(&self, on: &mut Connection<Self>, key: &[u8]) -> impl Reply<Option<RecordRow>>;
    /// Takes the record of a key out, unless it has expired or is not understood, or is not that claim's where one is said.
    /// Whether it was there.
    fn remove(&self, on: &mut Connection<Self>, key: &[u8], claim: Option<&[u8]>) -> impl Reply<bool>;

    /// The migrations of the tables that the statements are for. Their number is the version of the schema.
    fn migrations(&self) -> &'static [&'static str];
    /// The version of the schema; `None` where there is none.
    fn schema(&self, on: &mut Connection<Self>) -> impl Reply<Option<i64>>;
    /// Runs the migrations that are missing.
    fn migrate(&self, on: &mut Connection<Self>) -> impl Reply<()>;

    /// Becomes the purger, or stays it, until `lease` µs from now, and stores how far the purge has come where that is
    /// given. How far it had come before; `None` where another member is the purger.
    fn lead(
        &self,
        on: &mut Connection<Self>,
        holder: &[u8],
        lease: i64,
        position: Option<&[u8]>,
    ) -> impl Reply<Option<Vec<u8>>>;
    /// Deletes what has expired among the next `rows` records behind a key.
    fn purge(&self, on: &mut Connection<Self>, behind: &[u8], rows: i64) -> impl Reply<PurgedRange>;

    /// Tells this life of the database from others. It changes whenever the database may have lost what it had
    /// confirmed, and is the same over all sessions until then.
    fn identity(&self, on: &mut Connection<Self>) -> impl Reply<String>;
    /// Begins another epoch, which no life of the database has had.
    fn new_epoch(&self, on: &mut Connection<Self>) -> impl Reply<()>;

    /// The server's code of an error, as its manual has it.
    fn code(error: &dyn DatabaseError) -> String {
        error.code().unwrap_or_default().into_owned()
    }
    /// The knowledge of an error of the server's.
    fn known(error: &dyn DatabaseError) -> KnownCode;
}

/// One range of a purge.
#[derive(Debug)]
pub(in crate::store) struct PurgedRange {
    /// Where the range ends; `None` where the table does.
    pub(in crate::store) end: Option<Vec<u8>>,
    /// How many records were deleted.
    pub(in crate::store) deleted: u64,
}

/// A setting that lets a crash take back what was confirmed.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::store) struct DurabilityRisk {
    pub(in crate::store) setting: &'static str,
    pub(in crate::store) value: String,
    /// The loss, and the setting that avoids it.
    pub(in crate::store) loses: &'static str,
}

impl DurabilityRisk {
    /// The setting, where its value is none of the durable ones.
    pub(in crate::store) fn unless(
        setting: &'static str,
        value: &str,
        durable: &[&str],
        loses: &'static str,
    ) -> Option<Self> {
        let is_frail = !durable.iter().any(|durable| value.eq_ignore_ascii_case(durable));
        is_frail.then(|| Self { setting, value: value.to_owned(), loses })
    }
}

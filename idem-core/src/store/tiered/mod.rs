//! A cache in front of a database.

mod cache;
mod incarnation;
mod transactions;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::Instant;

use self::cache::Cache;
pub use self::incarnation::Incarnation;
use self::incarnation::IncarnationKeeper;
use self::transactions::TieredTransactions;
use super::{
    Answer, Answers, Claim, ClaimRequest, CompleteRequest, PageRequest, RecordFilter, RecordPage, Registry,
    ReleaseRequest, RenewRequest, Store, StoreError, Transactions,
};
use crate::key::RecordKey;
use crate::record::{Record, Token};

#[doc = include_str!("tiered.md")]
#[derive(Clone)]
pub struct TieredStore(Arc<Tiers>);

struct Tiers {
    cache: Cache,
    database: Arc<dyn Store>,
    keeper: IncarnationKeeper,
}

impl TieredStore {
    /// A cache, such as a `MemoryStore` or a `RedisStore`, in front of a database.
    ///
    /// # Errors
    /// [`StoreError::is_config`] where the database is a store that does not tell its [`Incarnation`];
    /// [`StoreError::is_unavailable`] where it does not answer.
    pub async fn new(cache: impl Store, database: impl Store) -> Result<Self, StoreError> {
        let database: Arc<dyn Store> = Arc::new(database);
        let keeper = IncarnationKeeper::start(&database).await?;
        Ok(Self(Arc::new(Tiers { cache: Cache::new(Arc::new(cache)), database, keeper })))
    }
}

impl Tiers {
    /// The incarnation in which cached completions count; none where that is not known just now.
    fn incarnation(&self) -> Option<Incarnation> {
        self.keeper.now(self.database.interruptions())
    }

    /// The answers that the cache has; none for the keys that the database has to be asked for.
    async fn known(&self, batch: &[ClaimRequest]) -> Vec<Option<Claim>> {
        match self.incarnation() {
            Some(incarnation) => self.cache.completed(incarnation, batch).await,
            // Nobody knows which incarnation the database is now, so no cached completion counts.
            None => vec![None; batch.len()],
        }
    }

    async fn claim(&self, batch: &[ClaimRequest]) -> Answers<Claim> {
        let known = self.known(batch).await;
        let open: Vec<ClaimRequest> = batch
            .iter()
            .zip(&known)
            .filter(|(_, known)| known.is_none())
            .map(|(open, _)| open.clone())
            .collect();
        let asked = if open.is_empty() { Vec::new() } else { self.heard(self.database.claim(&open).await)? };
        let mut asked = asked.into_iter();
        let unanswered =
            || Err(StoreError::unavailable("the database answered for fewer keys than it was asked for"));
        let answers = known.into_iter().map(|known| match known {
            Some(claim) => Ok(claim),
            None => asked.next().unwrap_or_else(unanswered),
        });
        Ok(answers.collect())
    }

    /// The cache is given only completions that the database has confirmed, under the incarnation from before it was
    /// asked, and for no longer than its record lives.
    async fn complete(&self, batch: &[CompleteRequest]) -> Answers<Answer> {
        let (incarnation, asked) = (self.incarnation(), Instant::now());
        let answers = self.heard(self.database.complete(batch).await)?;
        if let Some(incarnation) = incarnation {
            let done = batch.iter().zip(&answers).filter(|(_, answer)| matches!(answer, Ok(Answer::Done)));
            let done = done.map(|(request, _)| request.clone()).collect();
            self.cache.write(incarnation, done, asked);
        }
        Ok(answers)
    }

    /// A database that fails may be another one when it is back: until that is known, nothing cached counts.
    fn heard<T>(&self, answer: Result<T, StoreError>) -> Result<T, StoreError> {
        if answer.as_ref().is_err_and(StoreError::is_unavailable) {
            self.keeper.doubt();
        }
        answer
    }
}

impl Store for TieredStore {
    fn name(&self) -> &'static str {
        "tiered"
    }

    fn max_batch(&self) -> usize {
        self.0.database.max_batch()
    }

    fn connections(&self) -> Option<u32> {
        self.0.database.connections()
    }

    fn shares_connections(&self) -> bool {
        self.0.database.shares_connections()
    }

    fn transactions(&self) -> Option<Arc<dyn Transactions>> {
        let database = self.0.database.transactions()?;
        Some(Arc::new(TieredTransactions { tiers: self.0.clone(), database }))
    }

    fn incarnation(&self) -> BoxFuture<'_, Result<Incarnation, StoreError>> {
        self.0.database.incarnation()
    }

    fn interruptions(&self) -> u64 {
        self.0.database.interruptions()
    }

    fn known(&self, key: &RecordKey) -> Option<Claim> {
        self.0.cache.known(self.0.incarnation()?, key)
    }

    fn claim<'a>(&'a self, batch: &'a [ClaimRequest]) -> BoxFuture<'a, Answers<Claim>> {
        Box::pin(self.0.claim(batch))
    }

    fn renew<'a>(&'a self, batch: &'a [RenewRequest]) -> BoxFuture<'a, Answers<Answer>> {
        Box::pin(async move { self.0.heard(self.0.database.renew(batch).await) })
    }

    fn complete<'a>(&'a self, batch: &'a [CompleteRequest]) -> BoxFuture<'a, Answers<Answer>> {
        Box::pin(self.0.complete(batch))
    }

    fn release<'a>(&'a self, batch: &'a [ReleaseRequest]) -> BoxFuture<'a, Answers<Answer>> {
        Box::pin(async move { self.0.heard(self.0.database.release(batch).await) })
    }

    fn read<'a>(&'a self, key: &'a RecordKey) -> BoxFuture<'a, Result<Option<Record>, StoreError>> {
        self.0.database.read(key)
    }

    /// Other processes' caches in memory may answer for the key for up to a minute more.
    fn remove<'a>(
        &'a self,
        key: &'a RecordKey,
        claim: Option<Token>,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(async move {
            let removed = self.0.database.remove(key, claim).await?;
            self.0.cache.remove(key).await?;
            Ok(removed)
        })
    }

    fn list<'a>(
        &'a self,
        filter: &'a RecordFilter,
        page: &'a PageRequest,
    ) -> BoxFuture<'a, Result<RecordPage, StoreError>> {
        self.0.database.list(filter, page)
    }

    fn registry(&self) -> Option<Arc<dyn Registry>> {
        self.0.database.registry()
    }
}

impl fmt::Debug for TieredStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TieredStore")
            .field("cache", &self.0.cache.name())
            .field("database", &self.0.database.name())
            .finish_non_exhaustive()
    }
}

/// The longest that a completion is cached in a process's own memory, where nobody else can take it out.
const IN_MEMORY: Duration = Duration::from_mins(1);

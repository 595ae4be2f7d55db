//! A cache in front of a database.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use idem_core::engine::{Admission, Engine, Entry};
use idem_core::store::conformance::Harness;
use idem_core::store::{
    Answer, Answers, Claim, ClaimRequest, CompleteRequest, Incarnation, ReleaseRequest, RenewRequest, Store,
    Transactions,
};
use idem_core::{
    Decision, Fence, Fingerprint, FingerprintMismatch, Job, MemoryStore, Outcome, Record, RecordKey,
    RedisStore, Settings, StoreError, TieredStore, Verdict,
};
use tokio::time::{Instant, sleep};

use super::postgres_harness::Postgres;
use super::server::Server;
use super::sql_harness::{claims, rival};
use super::sqlite_harness::Sqlite;

/// Memory in front of SQLite.
struct InMemory(Sqlite);

impl Harness for InMemory {
    fn store(&self) -> BoxFuture<'_, Arc<dyn Store>> {
        Box::pin(async {
            let store = TieredStore::new(MemoryStore::new(), self.0.open().await).await.unwrap();
            Arc::new(store) as Arc<dyn Store>
        })
    }

    fn pass(&self, time: Duration) -> BoxFuture<'_, ()> {
        self.0.pass(time)
    }

    fn plant<'a>(&'a self, key: &'a RecordKey, bytes: &'a [u8]) -> BoxFuture<'a, bool> {
        self.0.plant(key, bytes)
    }

    fn raw<'a>(&'a self, key: &'a RecordKey) -> BoxFuture<'a, Option<Vec<u8>>> {
        self.0.raw(key)
    }
}

idem_core::conformance_tests!(InMemory(Sqlite::new()));

/// The same with Redis in front of PostgreSQL.
mod redis {
    use super::super::redis_harness::single_url;
    use super::super::sql_harness::unique_name;
    use super::*;

    struct InRedis(Postgres);

    impl Harness for InRedis {
        fn store(&self) -> BoxFuture<'_, Arc<dyn Store>> {
            Box::pin(async {
                let cache =
                    RedisStore::builder(single_url()).key_prefix(unique_name()).connect().await.unwrap();
                let store = TieredStore::new(cache, self.0.connect().await).await.unwrap();
                Arc::new(store) as Arc<dyn Store>
            })
        }

        fn pass(&self, time: Duration) -> BoxFuture<'_, ()> {
            self.0.pass(time)
        }

        fn plant<'a>(&'a self, key: &'a RecordKey, bytes: &'a [u8]) -> BoxFuture<'a, bool> {
            self.0.plant(key, bytes)
        }

        fn raw<'a>(&'a self, key: &'a RecordKey) -> BoxFuture<'a, Option<Vec<u8>>> {
            self.0.raw(key)
        }
    }

    idem_core::conformance_tests!(InRedis(Postgres::new().await));
}

/// A database whose claims are counted, and that can be out of reach.
#[derive(Clone)]
pub(crate) struct Watched {
    store: Arc<dyn Store>,
    claims: Arc<AtomicUsize>,
    asked: Arc<AtomicUsize>,
    is_away: Arc<AtomicBool>,
}

impl Watched {
    pub(crate) fn new(store: impl Store) -> Self {
        Self {
            store: Arc::new(store),
            claims: Arc::default(),
            asked: Arc::default(),
            is_away: Arc::default(),
        }
    }

    pub(crate) fn claims(&self) -> usize {
        self.claims.load(Ordering::SeqCst)
    }

    /// How often it has told its incarnation.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn check(&self) -> Result<(), StoreError> {
        if self.is_away.load(Ordering::SeqCst) { Err(StoreError::unavailable("away")) } else { Ok(()) }
    }
}

impl Store for Watched {
    fn name(&self) -> &'static str {
        "watched"
    }

    fn transactions(&self) -> Option<Arc<dyn Transactions>> {
        self.store.transactions()
    }

    fn interruptions(&self) -> u64 {
        self.store.interruptions()
    }

    fn incarnation(&self) -> BoxFuture<'_, Result<Incarnation, StoreError>> {
        Box::pin(async {
            self.check()?;
            let incarnation = self.store.incarnation().await;
            self.asked.fetch_add(1, Ordering::SeqCst);
            incarnation
        })
    }

    fn claim<'a>(&'a self, batch: &'a [ClaimRequest]) -> BoxFuture<'a, Answers<Claim>> {
        Box::pin(async {
            self.check()?;
            self.claims.fetch_add(batch.len(), Ordering::SeqCst);
            self.store.claim(batch).await
        })
    }

    fn renew<'a>(&'a self, batch: &'a [RenewRequest]) -> BoxFuture<'a, Answers<Answer>> {
        self.store.renew(batch)
    }

    fn complete<'a>(&'a self, batch: &'a [CompleteRequest]) -> BoxFuture<'a, Answers<Answer>> {
        self.store.complete(batch)
    }

    fn release<'a>(&'a self, batch: &'a [ReleaseRequest]) -> BoxFuture<'a, Answers<Answer>> {
        self.store.release(batch)
    }

    fn read<'a>(&'a self, key: &'a RecordKey) -> BoxFuture<'a, Result<Option<Record>, StoreError>> {
        self.store.read(key)
    }

    fn remove<'a>(&'a self, key: &'a RecordKey) -> BoxFuture<'a, Result<bool, StoreError>> {
        self.store.remove(key)
    }
}

pub(crate) async fn done(store: &dyn Store, claim: &ClaimRequest) {
    let claimed = store.claim(std::slice::from_ref(claim)).await.unwrap().remove(0).unwrap();
    let Claim::Claimed { fence, .. } = claimed else { panic!("{claimed:?}") };
    assert_eq!(store.complete(&[completion(claim, fence)]).await.unwrap().remove(0).unwrap(), Answer::Done);
}

fn completion(claim: &ClaimRequest, fence: Fence) -> CompleteRequest {
    let ClaimRequest { key, token, retention, fingerprint, .. } = claim.clone();
    CompleteRequest { key, token, fence, retention, fingerprint, reply: None }
}

pub(crate) async fn claim(store: &dyn Store, claim: &ClaimRequest) -> Claim {
    store.claim(&[rival(claim)]).await.unwrap().remove(0).unwrap()
}

pub(crate) async fn until(what: &str, seen: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !seen().await {
        assert!(Instant::now() < deadline, "not within 20 s: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Asks for a duplicate until the cache has answered for it, which it may not have heard of at once.
pub(crate) async fn until_cached(store: &dyn Store, database: &Watched, one: &ClaimRequest) {
    until("the cache answers", async || {
        let before = database.claims();
        matches!(claim(store, one).await, Claim::Completed { .. }) && database.claims() == before
    })
    .await;
}

#[tokio::test]
async fn known_duplicates_are_not_asked_of_the_database() {
    let file = Sqlite::new();
    let database = Watched::new(file.open().await);
    let store = TieredStore::new(MemoryStore::new(), database.clone()).await.unwrap();
    let one = &claims(1)[0];
    done(&store, one).await;
    until_cached(&store, &database, one).await;
    // Also without a transaction.
    let transactions = store.transactions().unwrap();
    assert!(matches!(transactions.known(&rival(one)).await, Some(Claim::Completed { .. })));
    assert!(transactions.known(&claims(1)[0]).await.is_none());
}

/// A slow handler holds up what it has to do, and not what is done.
#[tokio::test]
async fn a_known_duplicate_waits_for_no_permit() {
    let file = Sqlite::new();
    let database = Watched::new(file.open().await);
    let store = TieredStore::new(MemoryStore::new(), database.clone()).await.unwrap();
    let mut done_before = claims(2);
    done_before[1].fingerprint = Some(Fingerprint::of(b"as it was"));
    for one in &done_before {
        done(&store, one).await;
        until_cached(&store, &database, one).await;
    }
    let mut settings = Settings::new();
    settings.concurrency = Some(1);
    settings.fingerprint = Some(FingerprintMismatch::DeadLetter);
    let gate = Engine::new(Arc::new(store)).gate("slow", settings.resolve().unwrap());
    let enter = |request: &ClaimRequest, fingerprint| {
        gate.enter(Job { key: request.key.clone(), fingerprint, redeliveries: 0, failures: 0 })
    };
    let slow = enter(&claims(1)[0], None).into_leader().expect("a fresh key leads");
    let running = gate.claim(&mut [slow].into()).await;
    assert!(matches!(running[..], [Admission::Run(_)]), "{running:?}");
    let claims = database.claims();
    for one in &done_before {
        let Entry::Decided(settled) = enter(one, one.fingerprint) else { panic!("the cache has it") };
        assert_eq!(settled.decision, Decision::new(Verdict::Ack, Outcome::Duplicate));
    }
    let other = Some(Fingerprint::of(b"as it is now"));
    assert!(
        matches!(enter(&done_before[1], other), Entry::Leader(_)),
        "the policy for another payload decides"
    );
    assert_eq!(database.claims(), claims);
}

#[tokio::test]
async fn what_a_transaction_committed_is_known() {
    let file = Sqlite::new();
    let database = Watched::new(file.open().await);
    let store = TieredStore::new(MemoryStore::new(), database.clone()).await.unwrap();
    let one = &claims(1)[0];
    let mut transaction = store.transactions().unwrap().begin().await.unwrap();
    let Claim::Claimed { fence, .. } = transaction.claim(one).await.unwrap() else { panic!("it is free") };
    assert_eq!(transaction.complete(&completion(one, fence)).await.unwrap(), Answer::Done);
    transaction.commit().await.unwrap();
    until_cached(&store, &database, one).await;
}

#[tokio::test]
async fn what_the_database_forgot_is_done_again() {
    let file = Sqlite::new();
    let sqlite = file.open().await;
    let database = Watched::new(sqlite.clone());
    let store = TieredStore::new(MemoryStore::new(), database.clone()).await.unwrap();
    let one = &claims(1)[0];
    done(&store, one).await;
    until_cached(&store, &database, one).await;
    // An older state is put back, and the operator says so.
    file.execute("DELETE FROM {table}").await;
    sqlite.new_epoch().await.unwrap();
    until("the cache does not count", async || matches!(claim(&store, one).await, Claim::Claimed { .. }))
        .await;
}

#[tokio::test]
async fn nothing_cached_counts_while_the_database_is_away() {
    let file = Sqlite::new();
    let database = Watched::new(file.open().await);
    let store = TieredStore::new(MemoryStore::new(), database.clone()).await.unwrap();
    let one = &claims(1)[0];
    done(&store, one).await;
    until_cached(&store, &database, one).await;
    database.is_away.store(true, Ordering::SeqCst);
    until("the claim fails", async || store.claim(&[rival(one)]).await.is_err()).await;
    database.is_away.store(false, Ordering::SeqCst);
    until_cached(&store, &database, one).await;
}

#[tokio::test]
async fn a_dead_or_empty_cache_costs_a_question() {
    let file = Sqlite::new();
    let database = Watched::new(file.open().await);
    let mut server = Server::start(&[]);
    let cache = RedisStore::connect(server.url()).await.unwrap();
    let store = TieredStore::new(cache, database.clone()).await.unwrap();
    let all = claims(20);
    for one in &all[..10] {
        done(&store, one).await;
        until_cached(&store, &database, one).await;
    }
    server.kill();
    for one in &all[..10] {
        assert!(matches!(claim(&store, one).await, Claim::Completed { .. }));
    }
    for one in &all[10..] {
        done(&store, one).await;
    }
    server.restart();
    // It is empty now.
    for one in &all {
        assert!(matches!(claim(&store, one).await, Claim::Completed { .. }));
    }
    assert!(database.claims() >= 40, "{}", database.claims());
}

#[tokio::test]
async fn a_consumers_own_record_in_the_cache_is_left_alone() {
    let file = Sqlite::new();
    let database = Watched::new(file.open().await);
    let cache = MemoryStore::new();
    let store = TieredStore::new(cache.clone(), database.clone()).await.unwrap();
    let one = &claims(1)[0];
    done(&cache, one).await;
    let theirs = cache.read(&one.key).await.unwrap();
    done(&store, &rival(one)).await;
    sleep(Duration::from_millis(200)).await;
    assert_eq!(cache.read(&one.key).await.unwrap(), theirs);
    assert!(matches!(claim(&store, one).await, Claim::Completed { .. }));
    assert_eq!(database.claims(), 2, "what has no label does not count");
}

#[tokio::test]
async fn a_store_that_cannot_tell_is_no_database() {
    let error = TieredStore::new(MemoryStore::new(), MemoryStore::new()).await.unwrap_err();
    assert!(error.is_config());
    assert!(error.to_string().contains("does not tell when it has lost data"), "{error}");
}

#[tokio::test]
async fn each_epoch_and_table_is_an_incarnation() {
    let (one, other) = (Postgres::new().await, Postgres::new().await);
    let (store, elsewhere) = (one.connect().await, other.connect().await);
    let first = store.incarnation().await.unwrap();
    assert_eq!(store.incarnation().await.unwrap(), first);
    assert_ne!(elsewhere.incarnation().await.unwrap(), first);
    store.new_epoch().await.unwrap();
    assert_ne!(store.incarnation().await.unwrap(), first);
}

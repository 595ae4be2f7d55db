//! A cache in front of a database answers known duplicates and hides no loss.
//!
//! Run alone: `cargo test -p idem-core --all-features --test stores -- tiered::`

mod crashes;
mod redis_before_postgres;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use idem_core::engine::{Admission, Engine, Entry};
use idem_core::store::conformance::Harness;
use idem_core::store::{Answer, Claim, ClaimRequest, CompleteRequest, Store};
use idem_core::{
    Decision, Fingerprint, FingerprintMismatch, Job, MemoryStore, Outcome, RecordKey, RedisStore, Settings,
    TieredStore, Verdict,
};
use tokio::time::sleep;

use crate::support::postgres::Postgres;
use crate::support::records::{claim, claims, completion, done, rival, until};
use crate::support::redis_server::Server;
use crate::support::sqlite::Sqlite;
use crate::support::watched::{Watched, until_cached};

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
        gate.enter(Job { fingerprint, ..Job::new(request.key.clone()) })
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
    assert_eq!(
        transaction.complete(&CompleteRequest { fence, ..completion(one) }).await.unwrap(),
        Answer::Done
    );
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
    database.go_away();
    until("the claim fails", async || store.claim(&[rival(one)]).await.is_err()).await;
    database.come_back();
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

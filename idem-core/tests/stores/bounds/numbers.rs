//! The defaults, time limits and round trips that the stores' documentation states.
//!
//! Run alone: `cargo test -p idem-core --all-features --test stores -- bounds::numbers::`

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::{BoxFuture, pending, ready};
use idem_core::store::{
    Answer, Answers, Claim, ClaimRequest, CompleteRequest, Incarnation, Locality, Purge, ReleaseRequest,
    RenewRequest, Store,
};
use idem_core::{MemoryStore, Record, RecordKey, RedisStore, StoreError, TieredStore, Token};
use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

use crate::support::bank::Bank as _;
use crate::support::line::{Lined, lined};
use crate::support::mysql::MySql;
use crate::support::postgres::Postgres;
use crate::support::proxy::{Line, Proxy};
use crate::support::records::{claim, claims, completion, done, release, renewal, until};
use crate::support::redis_server::Server;
use crate::support::shop::{Options, pay};

const SECOND: Duration = Duration::from_secs(1);

/// Five seconds in a database, two in Redis.
#[tokio::test]
async fn a_call_takes_as_long_by_default_as_is_documented() {
    let server = Server::start(&[]);
    let redis = RedisStore::connect(server.url()).await.unwrap();
    server.pause();
    let start = Instant::now();
    assert!(redis.claim(&claims(1)).await.unwrap_err().is_unavailable());
    assert!((2 * SECOND..4 * SECOND).contains(&start.elapsed()), "{:?}", start.elapsed());
    server.go_on();

    let postgres = Postgres::new().await;
    let proxy = Proxy::before(&postgres.url).await;
    let builder = idem_core::PostgresStore::builder(proxy.url(&postgres.url)).schema(&postgres.schema);
    let store = builder.purge(Purge::off()).connect().await.unwrap();
    proxy.set(Line::Mute);
    let start = Instant::now();
    assert!(store.claim(&claims(1)).await.unwrap_err().is_unavailable());
    assert!((5 * SECOND..8 * SECOND).contains(&start.elapsed()), "{:?}", start.elapsed());
}

/// A server that lets a client in and says nothing more.
#[tokio::test]
async fn a_redis_that_falls_silent_while_it_is_connected_to_is_given_up_in_three_seconds() {
    let server = Server::start(&[]);
    let proxy = Proxy::before(&server.url()).await;
    // The handshake's answer comes late, and INFO's would, too.
    proxy.set(Line::Late(2 * SECOND));
    let start = Instant::now();
    assert!(RedisStore::connect(proxy.url(&server.url())).await.unwrap_err().is_unavailable());
    assert!(start.elapsed() < 4 * SECOND, "{:?}", start.elapsed());
}

/// A store that is both halves of a tier, as a test wants it.
#[derive(Clone)]
struct Half {
    records: MemoryStore,
    locality: Locality,
    hangs: Arc<AtomicBool>,
    reads: Arc<AtomicUsize>,
    asked: Arc<AtomicUsize>,
    written: Arc<Mutex<Vec<Duration>>>,
}

impl Half {
    fn new(locality: Locality) -> Self {
        let records = MemoryStore::new();
        let (hangs, written) = (Arc::default(), Arc::default());
        let (reads, asked) = (Arc::default(), Arc::default());
        Self { records, locality, hangs, reads, asked, written }
    }

    fn hang(&self, hangs: bool) {
        self.hangs.store(hangs, Ordering::SeqCst);
    }

    /// The answer, unless it hangs.
    fn say<'a, T: Send + 'a>(&self, answer: BoxFuture<'a, T>) -> BoxFuture<'a, T> {
        if self.hangs.load(Ordering::SeqCst) { Box::pin(pending()) } else { answer }
    }
}

impl Store for Half {
    fn name(&self) -> &'static str {
        "half"
    }

    fn locality(&self) -> Locality {
        self.locality
    }

    fn incarnation(&self) -> BoxFuture<'_, Result<Incarnation, StoreError>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.say(Box::pin(ready(Ok(Incarnation::of("one")))))
    }

    fn claim<'a>(&'a self, batch: &'a [ClaimRequest]) -> BoxFuture<'a, Answers<Claim>> {
        self.records.claim(batch)
    }

    fn renew<'a>(&'a self, batch: &'a [RenewRequest]) -> BoxFuture<'a, Answers<Answer>> {
        self.records.renew(batch)
    }

    fn complete<'a>(&'a self, batch: &'a [CompleteRequest]) -> BoxFuture<'a, Answers<Answer>> {
        self.written.lock().extend(batch.iter().map(|request| request.retention));
        self.say(self.records.complete(batch))
    }

    fn release<'a>(&'a self, batch: &'a [ReleaseRequest]) -> BoxFuture<'a, Answers<Answer>> {
        self.records.release(batch)
    }

    fn read<'a>(&'a self, key: &'a RecordKey) -> BoxFuture<'a, Result<Option<Record>, StoreError>> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        self.say(self.records.read(key))
    }

    fn remove<'a>(
        &'a self,
        key: &'a RecordKey,
        claim: Option<Token>,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        self.records.remove(key, claim)
    }
}

async fn tiers(locality: Locality) -> (TieredStore, Half, Half) {
    let (cache, database) = (Half::new(locality), Half::new(Locality::Remote));
    let store = TieredStore::new(cache.clone(), database.clone()).await.unwrap();
    (store, cache, database)
}

#[tokio::test]
async fn what_is_cached_lives_as_long_as_its_record_and_a_minute_in_memory() {
    for (locality, longest) in [(Locality::InProcess, 60 * SECOND), (Locality::Remote, 900 * SECOND)] {
        let (store, cache, _) = tiers(locality).await;
        let mut one = claims(1).remove(0);
        one.retention = 900 * SECOND;
        done(&store, &one).await;
        until("it is cached", async || !cache.written.lock().is_empty()).await;
        let life = cache.written.lock()[0];
        assert!(life <= longest && life + 5 * SECOND > longest, "{life:?}");
    }
}

#[tokio::test]
async fn a_slow_cache_costs_a_tenth_of_a_second_and_is_then_left_alone_for_a_second() {
    let (store, cache, _) = tiers(Locality::Remote).await;
    let one = claims(1).remove(0);
    done(&store, &one).await;
    until("it is cached", async || !cache.written.lock().is_empty()).await;
    cache.hang(true);
    let start = Instant::now();
    assert!(matches!(claim(&store, &one).await, Claim::Completed { .. }));
    let first = start.elapsed();
    assert!((SECOND / 10..SECOND).contains(&first), "{first:?}");
    let reads = cache.reads.load(Ordering::SeqCst);
    while start.elapsed() < SECOND {
        claim(&store, &one).await;
        sleep(SECOND / 50).await;
    }
    assert_eq!(cache.reads.load(Ordering::SeqCst), reads, "it is left alone");
    cache.hang(false);
    until("it is asked again", async || {
        claim(&store, &one).await;
        cache.reads.load(Ordering::SeqCst) > reads
    })
    .await;
    // Nothing waits for what is written.
    cache.hang(true);
    let start = Instant::now();
    done(&store, &claims(1)[0]).await;
    assert!(start.elapsed() < SECOND / 2, "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_database_is_asked_twice_a_second_and_its_word_counts_for_two() {
    let (store, _, database) = tiers(Locality::InProcess).await;
    let one = claims(1).remove(0);
    done(&store, &one).await;
    until("it is cached", async || store.known(&one.key).is_some()).await;
    let before = database.asked.load(Ordering::SeqCst);
    sleep(4 * SECOND).await;
    let asked = database.asked.load(Ordering::SeqCst) - before;
    assert!((4..=9).contains(&asked), "{asked} times in four seconds");
    database.hang(true);
    let start = Instant::now();
    until("the word is too old", async || store.known(&one.key).is_none()).await;
    assert!((SECOND..3 * SECOND).contains(&start.elapsed()), "{:?}", start.elapsed());
}

/// The round trips of an outbox's transaction whose work is one statement, once its statements are prepared.
async fn round_trips<S: Lined>() -> usize {
    let (_shop, lined, proxy) = lined::<S>().await;
    let outbox = lined.outbox(Options::default()).await.unwrap();
    let mut before = 0;
    for name in ["1", "2", "3"] {
        before = proxy.questions();
        pay::<S>(&outbox, name).await;
    }
    proxy.questions() - before
}

#[tokio::test]
async fn a_transaction_of_an_outbox_costs_three_statements_more_on_a_server() {
    // It is begun, it works, and it is committed.
    let other = 3;
    assert_eq!(round_trips::<Postgres>().await - other, 3);
    assert_eq!(round_trips::<MySql>().await - other, 3);
}

/// The round trips of a claim, a renewal, a release, another claim, its completion, and a renewal that comes too late, of 32 keys
/// each.
async fn round_trips_of_batches(store: &dyn Store, proxy: &Proxy, documented: [usize; 6]) {
    let (mut least, begun) = ([usize::MAX; 6], Instant::now());
    // The first ones prepare their statements, a purge may come in between, and on a busy machine rows that were long in being
    // written have their fences written again.
    while least != documented && begun.elapsed() < Duration::from_mins(1) {
        let batch = claims(32);
        let renewals: Vec<_> = batch.iter().map(renewal).collect();
        let releases: Vec<_> = batch.iter().map(release).collect();
        let completions: Vec<_> = batch.iter().map(completion).collect();
        let mut asked = vec![proxy.questions()];
        store.claim(&batch).await.unwrap();
        asked.push(proxy.questions());
        store.renew(&renewals).await.unwrap();
        asked.push(proxy.questions());
        store.release(&releases).await.unwrap();
        asked.push(proxy.questions());
        store.claim(&batch).await.unwrap();
        asked.push(proxy.questions());
        store.complete(&completions).await.unwrap();
        asked.push(proxy.questions());
        store.renew(&renewals).await.unwrap();
        asked.push(proxy.questions());
        for (least, asked) in least.iter_mut().zip(asked.windows(2)) {
            *least = (*least).min(asked[1] - asked[0]);
        }
    }
    assert_eq!(least, documented);
}

#[tokio::test]
async fn a_batch_is_as_many_statements_as_is_documented() {
    let (_shop, lined_up, proxy) = lined::<Postgres>().await;
    let store = lined_up.store(20 * SECOND).await;
    round_trips_of_batches(&*store, &proxy, [1, 1, 1, 1, 1, 1]).await;
    let (_shop, lined_up, proxy) = lined::<MySql>().await;
    let store = lined_up.store(20 * SECOND).await;
    round_trips_of_batches(&*store, &proxy, [1, 1, 1, 1, 1, 2]).await;
    let mysql = MySql::like_mysql().await;
    let proxy = Proxy::before(&mysql.url).await;
    let store = mysql.at(proxy.url(&mysql.url)).connect().await;
    round_trips_of_batches(&store, &proxy, [2, 1, 1, 2, 2, 2]).await;
}

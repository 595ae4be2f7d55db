//! Every step ends within the configured time when its server falls silent.
//!
//! Run alone: `cargo test -p idem-core --all-features --test stores -- bounds::silence::`

use std::sync::Arc;
use std::time::Duration;

use idem_core::outbox::{Fate, Outbox};
use idem_core::store::{ClaimRequest, Purge, SavepointEnd, Store, Transaction};
use idem_core::{PostgresStore, RedisStore, StoreError};
use sqlx::postgres::PgPoolOptions;
use tokio::time::{Instant, timeout};

use crate::support::line::{Lined, lined};
use crate::support::mysql::MySql;
use crate::support::postgres::Postgres;
use crate::support::proxy::{Line, Proxy};
use crate::support::records::{claims, completion, release, renewal, rival, until};
use crate::support::redis_server::Server;
use crate::support::shop::{Options, begin, key, message};

const BOUND: Duration = Duration::from_millis(1_500);
/// For a busy machine; less than another bound.
const SLACK: Duration = Duration::from_millis(1_300);

/// Something that is over within the bound.
async fn in_time<T>(what: &str, bound: Duration, step: impl Future<Output = T>) -> T {
    let start = Instant::now();
    let over = timeout(Duration::from_secs(20), step).await;
    assert!(start.elapsed() < bound + SLACK, "{what} took {:?}", start.elapsed());
    over.expect(what)
}

/// A step that has no answer, and is over within the bound.
async fn silent<T>(what: &str, bound: Duration, step: impl Future<Output = Result<T, StoreError>>) {
    let answer = in_time(what, bound, step).await;
    let error = answer.err().unwrap_or_else(|| panic!("{what} has an answer"));
    assert!(error.is_unavailable(), "{what}: {error:?}");
}

/// Every operation, with a connection that was in order a moment ago.
async fn store_steps(store: &dyn Store, proxy: &Proxy) {
    for step in ["claim", "renew", "complete", "release", "read", "remove", "incarnation"] {
        let batch = claims(1);
        let one = &batch[0];
        // A handshake that was begun in the silence has to run out first.
        until("the store answers", async || store.claim(&batch).await.is_ok()).await;
        proxy.set(Line::Mute);
        match step {
            "claim" => silent(step, BOUND, store.claim(&claims(2))).await,
            "renew" => silent(step, BOUND, store.renew(&[renewal(one)])).await,
            "complete" => silent(step, BOUND, store.complete(&[completion(one)])).await,
            "release" => silent(step, BOUND, store.release(&[release(one)])).await,
            "read" => silent(step, BOUND, store.read(&one.key)).await,
            "remove" => silent(step, BOUND, store.remove(&one.key, None)).await,
            _ if store.name() == "redis" => {}
            _ => silent(step, BOUND, store.incarnation()).await,
        }
        // New connections are as silent.
        silent("the next claim", BOUND, store.claim(&claims(1))).await;
        proxy.set(Line::Open);
    }
}

async fn transaction_step(step: &str, mut open: Box<dyn Transaction>, one: &ClaimRequest) {
    let batch = claims(2);
    match step {
        "claim" => silent(step, 2 * BOUND, open.claim(&batch[0])).await,
        "claim_all" => silent(step, 2 * BOUND, open.claim_all(&batch)).await,
        "complete" => silent(step, BOUND, open.complete(&completion(one))).await,
        "savepoint" => silent(step, BOUND, open.savepoint()).await,
        "end_savepoint" => silent(step, BOUND, open.end_savepoint(SavepointEnd::Rollback)).await,
        "commit" => silent(step, BOUND, open.commit()).await,
        "rollback" => in_time(step, BOUND, open.rollback()).await,
        _ => in_time(step, Duration::ZERO, async { drop(open) }).await,
    }
}

async fn every_step_of_a_store_is_over_in_time<S: Lined>() {
    let (_shop, lined, proxy) = lined::<S>().await;
    let store = lined.store(BOUND).await;
    store_steps(&*store, &proxy).await;
    let transactions = store.transactions().unwrap();
    for step in ["claim", "claim_all", "complete", "savepoint", "end_savepoint", "commit", "rollback", "drop"]
    {
        let one = claims(1).remove(0);
        let mut open = transactions.begin().await.unwrap();
        open.claim(&one).await.unwrap();
        if step == "end_savepoint" {
            open.savepoint().await.unwrap();
        }
        proxy.set(Line::Mute);
        transaction_step(step, open, &one).await;
        silent("begin", BOUND, transactions.begin()).await;
        proxy.set(Line::Open);
        transactions.begin().await.unwrap().rollback().await;
    }
}

async fn every_step_of_an_outbox_is_over_in_time<S: Lined>() {
    let (shop, lined, proxy) = lined::<S>().await;
    let options = Options { wait: BOUND, ..Options::default() };
    let outbox = lined.outbox(options).await.unwrap();
    let patient = shop.outbox(Options::default()).await.unwrap();
    let id = message().id;
    for step in ["own", "begin", "decide", "sent", "lead", "due", "postpone", "purge", "rollback", "commit"] {
        let announced = message();
        let open = begin(&outbox, &announced, step).await;
        proxy.set(Line::Mute);
        outbox_step(step, &outbox, id).await;
        if step == "commit" {
            silent(step, BOUND, open.commit()).await;
            proxy.set(Line::Open);
            // It may have been made or not, and whoever asks afterwards decides that for good.
            let fate = patient.decide(announced.id).await.unwrap();
            assert_eq!(patient.decide(announced.id).await.unwrap(), fate);
        } else {
            in_time("rollback", BOUND, open.rollback()).await;
            proxy.set(Line::Open);
            assert_eq!(patient.decide(announced.id).await.unwrap(), Fate::RolledBack, "{step}");
        }
    }
}

async fn outbox_step(step: &str, outbox: &Arc<dyn Outbox>, id: idem_core::outbox::TransactionId) {
    let (other, name) = (message(), key("another"));
    match step {
        "own" => silent(step, BOUND, outbox.own("shop")).await,
        "begin" => silent(step, 2 * BOUND, outbox.begin(&other, &name)).await,
        "decide" => silent(step, 2 * BOUND, outbox.decide(id)).await,
        "sent" => silent(step, BOUND, outbox.sent(&[id; 70])).await,
        "lead" => silent(step, BOUND, outbox.lead([1; 16], BOUND)).await,
        "due" => silent(step, BOUND, outbox.due()).await,
        "postpone" => silent(step, BOUND, outbox.postpone(id)).await,
        "purge" => silent(step, BOUND, outbox.purge()).await,
        _ => {}
    }
}

#[tokio::test]
async fn every_step_in_postgres_is_over_in_time() {
    every_step_of_a_store_is_over_in_time::<Postgres>().await;
}

#[tokio::test]
async fn every_step_of_an_outbox_in_postgres_is_over_in_time() {
    every_step_of_an_outbox_is_over_in_time::<Postgres>().await;
}

#[tokio::test]
async fn every_step_in_mariadb_is_over_in_time() {
    every_step_of_a_store_is_over_in_time::<MySql>().await;
}

#[tokio::test]
async fn every_step_of_an_outbox_in_mariadb_is_over_in_time() {
    every_step_of_an_outbox_is_over_in_time::<MySql>().await;
}

#[tokio::test]
async fn every_step_in_redis_is_over_in_time() {
    let server = Server::start(&[]);
    let proxy = Proxy::before(&server.url()).await;
    let store =
        RedisStore::builder(proxy.url(&server.url())).response_timeout(BOUND).connect().await.unwrap();
    store_steps(&store, &proxy).await;
}

/// The scripts are unknown to the server, so that a call is two round trips, each of them shorter than the bound.
#[tokio::test]
async fn a_call_to_redis_of_two_commands_has_one_bound() {
    let server = Server::start(&[]);
    let proxy = Proxy::before(&server.url()).await;
    let store =
        RedisStore::builder(proxy.url(&server.url())).response_timeout(BOUND).connect().await.unwrap();
    let mut connection = server.client().get_multiplexed_async_connection().await.unwrap();
    let () = redis::cmd("SCRIPT").arg("FLUSH").query_async(&mut connection).await.unwrap();
    proxy.set(Line::Late(BOUND * 9 / 10));
    let start = Instant::now();
    assert!(store.claim(&claims(1)).await.unwrap_err().is_unavailable());
    assert!(start.elapsed() < BOUND * 3 / 2, "{:?}", start.elapsed());
}

/// Equal keys go one after the other.
#[tokio::test]
async fn a_batch_of_several_statements_has_one_bound() {
    let postgres = Postgres::new().await;
    let proxy = Proxy::before(&postgres.url).await;
    let builder = postgres.at(proxy.url(&postgres.url)).builder().response_timeout(BOUND);
    let store = builder.purge(Purge::off()).connect().await.unwrap();
    let one = claims(1).remove(0);
    store.claim(std::slice::from_ref(&one)).await.unwrap();
    proxy.set(Line::Late(BOUND * 6 / 10));
    let start = Instant::now();
    let batch = [rival(&one), rival(&one), rival(&one), rival(&one)];
    assert!(store.claim(&batch).await.unwrap_err().is_unavailable());
    assert!(start.elapsed() < BOUND * 3 / 2, "{:?}", start.elapsed());
}

/// A late answer on such a connection would be taken for the answer to the next call.
#[tokio::test]
async fn a_pools_connection_whose_answer_is_outstanding_is_closed() {
    let postgres = Postgres::new().await;
    let proxy = Proxy::before(&postgres.url).await;
    let pool = PgPoolOptions::new().max_connections(1).connect(&proxy.url(&postgres.url)).await.unwrap();
    let builder = PostgresStore::pool(pool).schema(&postgres.schema).purge(Purge::off());
    let store = builder.response_timeout(BOUND).connect().await.unwrap();
    let batch = claims(1);
    store.claim(&batch).await.unwrap();
    proxy.set(Line::Mute);
    silent("claim", BOUND, store.claim(&claims(1))).await;
    proxy.set(Line::Open);
    let start = Instant::now();
    while let Err(error) = store.renew(&[renewal(&batch[0])]).await {
        assert!(error.is_unavailable() && start.elapsed() < Duration::from_secs(20), "{error:?}");
    }
}

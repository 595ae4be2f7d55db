//! A handler commits together with its record, from the attribute to the database.
//!
//! Run alone: `cargo test --workspace --all-features --test e2e -- transactions::handlers::`
#![allow(clippy::needless_raw_string_hashes, reason = "expect-test writes them")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use expect_test::{Expect, expect};
use idem_rocketmq::prelude::*;
use idem_rocketmq::settings::{FingerprintMismatch, MissingKey, StoreFailure};
use idem_rocketmq::store;
use idem_rocketmq::store::Store;
use idem_rocketmq::testing::{Outcome, Verdict};
use sqlx::{PgConnection, SqliteConnection};

use crate::support::shop::{Paid, Shop, paid_on};

#[idempotent(key = "id", topic = "paid", transactional)]
async fn pay(paid: Paid, tx: &mut SqliteConnection, attempt: Attempt) -> HandlerResult {
    sqlx::query("INSERT INTO payments (id) VALUES (?)").bind(&paid.id).execute(&mut *tx).await?;
    if attempt.number() <= paid.fails {
        return Err("not yet".into());
    }
    Ok(())
}

/// A function without the attribute takes the connection as its second argument.
async fn pay_plainly(paid: Paid, tx: &mut SqliteConnection) -> HandlerResult {
    sqlx::query("INSERT INTO payments (id) VALUES (?)").bind(&paid.id).execute(tx).await?;
    Ok(())
}

fn paid(id: &str, fails: u32) -> Delivery {
    paid_on("paid", id, fails)
}

#[tokio::test]
async fn a_payment_and_its_record_are_one() {
    let shop = Shop::open().await;
    let consumer =
        Consumer::builder("shop").store(shop.store().await).handlers(handlers![pay]).test().unwrap();
    let first = consumer.deliver(paid("1", 1)).await;
    assert_eq!((first.outcome, first.attempt, shop.payments().await), (Outcome::Failed, 1, 0));
    let second = consumer.deliver(paid("1", 1)).await;
    assert_eq!((second.outcome, second.attempt, shop.payments().await), (Outcome::Completed, 2, 1));
    let again = consumer.deliver(paid("1", 1)).await;
    assert_eq!((again.verdict, again.outcome, shop.payments().await), (Verdict::Ack, Outcome::Duplicate, 1));
}

#[tokio::test]
async fn duplicates_that_come_together_are_one_payment() {
    let shop = Shop::open().await;
    let route = handler("paid", pay_plainly).key(|paid| paid.id.clone()).transactional();
    let consumer = Consumer::builder("shop").store(shop.store().await).handlers([route]).test().unwrap();
    let deliveries = (0..60).map(|number| paid(&(number % 20).to_string(), 0));
    let decisions = consumer.deliver_all(deliveries).await;
    assert!(decisions.iter().all(|decision| decision.verdict == Verdict::Ack), "{decisions:?}");
    assert_eq!(shop.payments().await, 20);
}

#[idempotent(key = "id", topic = "seen")]
async fn see(seen: Paid, State(runs): State<Arc<AtomicU32>>) {
    let _ = seen.fails;
    runs.fetch_add(1, Ordering::SeqCst);
}

#[idempotent(key = "id", topic = "slow", transactional, lease = "1s")]
async fn pay_slowly(paid: Paid, tx: &mut SqliteConnection) -> HandlerResult {
    sqlx::query("INSERT INTO payments (id) VALUES (?)").bind(&paid.id).execute(tx).await?;
    tokio::time::sleep(std::time::Duration::from_secs(4)).await;
    Ok(())
}

/// A transaction that is longer than a lease keeps SQLite's only writer, and no lease runs in it.
#[tokio::test]
async fn a_long_transaction_on_sqlite_keeps_its_key_and_leases_wait_for_it() {
    let shop = Shop::open().await;
    let runs = Arc::new(AtomicU32::new(0));
    let consumer = Consumer::builder("shop").store(shop.store().await).state(runs.clone());
    let consumer = consumer.handlers(handlers![pay_slowly, see]).test().unwrap();
    let message =
        |topic: &str, id: u32| Delivery::builder(topic).body(format!(r#"{{"id":"{id}","fails":0}}"#)).build();
    let slow = consumer.deliver(message("slow", 1));
    let quick = consumer.deliver_all((0..20).map(|id| message("seen", id % 10)));
    let (slow, quick) = tokio::join!(slow, quick);
    assert_eq!((slow.outcome, shop.payments().await), (Outcome::Completed, 1));
    assert!(quick.iter().all(|decision| decision.verdict == Verdict::Ack), "{quick:?}");
    assert_eq!(runs.load(Ordering::SeqCst), 10);
}

#[expect(clippy::needless_pass_by_value, reason = "a test's text is used once")]
fn fails<S: Store>(store: S, route: Route, text: Expect) {
    let consumer = Consumer::builder("shop").name_server("127.0.0.1:9876").store(store).handlers([route]);
    text.assert_eq(&format!("{}\n", consumer.check().unwrap_err()));
}

#[idempotent(key = "id", topic = "paid", transactional)]
async fn pay_elsewhere(paid: Paid, _tx: &mut PgConnection) {
    let _ = paid.fails;
}

#[tokio::test]
async fn a_transaction_that_the_store_cannot_give_is_told() {
    let shop = Shop::open().await;
    let store = shop.store().await;
    let plain = || handler("paid", pay_plainly).key(|paid| paid.id.clone()).named("pay");
    fails(
        MemoryStore::new(),
        plain().transactional(),
        expect![[r#"
        the handler `pay` takes `&mut sqlx_sqlite::connection::SqliteConnection`, and the store `memory` has no transactions: give the consumer a store in the database that the handler works on, such as `PostgresStore`, `MySqlStore` or `SqliteStore`
    "#]],
    );
    fails(
        store.clone(),
        handlers![pay_elsewhere].remove(0),
        expect![[r#"
        the handler `e2e::transactions::handlers::pay_elsewhere` takes `&mut sqlx_postgres::connection::PgConnection`, and the store `sqlite` gives `&mut sqlx_sqlite::connection::SqliteConnection`: take that, or give the consumer a store in the other database
    "#]],
    );
    fails(
        store.clone(),
        plain(),
        expect![[r#"
        the handler `pay` takes `&mut sqlx_sqlite::connection::SqliteConnection` and does not say that it is transactional: add `transactional` to its attribute, or `.transactional()` to its route
    "#]],
    );
    let nothing = handler("paid", async |_: Paid| {}).key(|paid| paid.id.clone()).named("pay");
    fails(
        store.clone(),
        nothing.transactional(),
        expect![[r#"
        the handler `pay` is transactional and takes no connection, so that nothing of it is in the transaction: take one, such as `tx: &mut PgConnection`, or remove `transactional`
    "#]],
    );
    fails(
        store.clone(),
        plain().transactional().store_failure(StoreFailure::Open),
        expect![[r#"
        the handler `pay` is transactional, and its `store_failure` is `open`: without the store there is no transaction to run in; remove one of them
    "#]],
    );
    fails(
        store.clone(),
        plain().transactional().missing_key(MissingKey::RunWithoutDedup),
        expect![[r#"
        the handler `pay` is transactional, and its `missing_key` is `run_without_dedup`: without a key there is no record to commit with; remove one of them
    "#]],
    );
    fails(
        store.clone(),
        plain().transactional().fingerprint(FingerprintMismatch::Run),
        expect![[r#"
            the handler `pay` is transactional, and its `fingerprint` is `run`: a run without a record has no transaction to work in; remove one of them
        "#]],
    );
    fails(
        store.clone(),
        plain().transactional().concurrency(2),
        expect![[r#"
        the handler `pay` is to work on 2 messages at once, each in a transaction, and the store `sqlite` has 1 connections for them: lower the concurrency, or raise the store's connections
    "#]],
    );
    fails(
        store.clone(),
        plain().group_commit(),
        expect![[r#"
        `group_commit` of handler `pay` stands at a handler without a transaction: add `transactional`, or remove it
    "#]],
    );
    assert!(store::Store::transactions(&store).is_some());
}

/// Handlers in lease mode that share the store's pool can keep their own leases from being renewed.
#[tokio::test]
async fn a_pool_that_handlers_can_take_whole_from_their_store_is_warned_of() {
    crate::support::kit::seeing();
    let shop = Shop::open().await;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(shop.path());
    let pool = sqlx::sqlite::SqlitePoolOptions::new().max_connections(4).connect_with(options).await.unwrap();
    let shared = SqliteStore::pool(pool).open().await.unwrap();
    let seen = || handler("seen", async |_: Paid| {}).key(|paid| paid.id.clone()).named("see");
    let warned = async |group: &str, store: SqliteStore, route: Route| {
        let consumer = Consumer::builder(group).name_server("127.0.0.1:1").store(store).handlers([route]);
        consumer.start().await.map(drop).unwrap_err();
        crate::support::kit::events(|event| event.is("group", group) && event.is("connections", "4")).len()
    };
    assert_eq!(warned("shares-its-pool", shared.clone(), seen().concurrency(4)).await, 1);
    assert_eq!(warned("leaves-one-free", shared.clone(), seen().concurrency(3)).await, 0);
    let pays = handler("paid", pay_plainly).key(|paid| paid.id.clone()).transactional();
    assert_eq!(warned("in-transactions", shared, pays).await, 0);
    assert_eq!(warned("has-its-own-file", shop.store().await, seen()).await, 0);
}

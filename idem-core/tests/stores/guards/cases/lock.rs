//! `lock_row` lets one transaction at a time work on a row.
//!
//! Run alone: `cargo test -p idem-core --all-features --test stores -- cases::lock::`

use std::time::{Duration, Instant};

use idem_core::sql::guard::{self, Conflict, Guarded};
use sqlx::{AssertSqlSafe, Row};

use super::{DUPLICATES, ISOLATIONS, Isolation, LOCKS_ROWS, Table, begin, count};

#[tokio::test]
async fn a_locked_row_says_whether_the_work_is_done() {
    let table = Table::order(Isolation::Default).await;
    let mut tx = begin(&table.pool).await;
    let lock = |id: i64| guard::lock_row(&table.name).id("order_id", id).unless("state", "PAID");
    assert_eq!(lock(7).apply(&mut tx).await.unwrap(), Guarded::AlreadyApplied);
    assert_eq!(lock(8).apply(&mut *tx).await.unwrap(), Guarded::Applied);
    assert_eq!(lock(8).unless("version", 1_i64).apply(&mut tx).await.unwrap(), Guarded::Applied);
    assert_eq!(lock(7).unless("version", 3_i64).apply(&mut tx).await.unwrap(), Guarded::AlreadyApplied);
    assert_eq!(
        guard::lock_row(&table.name).id("order_id", 7_i64).apply(&mut tx).await.unwrap(),
        Guarded::Applied
    );
    assert_eq!(lock(9).apply(&mut tx).await.unwrap(), Guarded::Conflict(Conflict::NoRow));
    tx.rollback().await.unwrap();
    table.drop().await;
}

#[tokio::test]
async fn a_lock_that_is_not_had_in_time_is_a_conflict_and_leaves_the_transaction_usable() {
    if !LOCKS_ROWS {
        return;
    }
    let table = Table::order(Isolation::Default).await;
    let lock = |id: i64| guard::lock_row(&table.name).id("order_id", id).wait(Duration::from_millis(100));
    let (mut holder, mut other) = (begin(&table.pool).await, begin(&table.pool).await);
    assert_eq!(lock(7).apply(&mut holder).await.unwrap(), Guarded::Applied);
    let began = Instant::now();
    assert_eq!(lock(7).apply(&mut other).await.unwrap(), Guarded::Conflict(Conflict::Locked));
    assert!(began.elapsed() >= Duration::from_millis(100));
    assert_eq!(lock(8).apply(&mut other).await.unwrap(), Guarded::Applied, "another row is free");
    holder.commit().await.unwrap();
    assert_eq!(lock(7).apply(&mut other).await.unwrap(), Guarded::Applied);
    other.commit().await.unwrap();
    table.drop().await;
}

/// SQLite: whoever has the database locked lets nobody else write, and the wait is the connection's.
#[tokio::test]
async fn where_there_are_no_row_locks_the_database_is_locked() {
    if LOCKS_ROWS {
        return;
    }
    let table = Table::order(Isolation::Default).await;
    let lock = |id: i64| guard::lock_row(&table.name).id("order_id", id).wait(Duration::ZERO);
    let mut holder = table.pool.begin().await.unwrap();
    assert_eq!(lock(7).apply(&mut holder).await.unwrap(), Guarded::Applied);
    let mut other = table.pool.begin().await.unwrap();
    sqlx::query("PRAGMA busy_timeout = 50").execute(&mut *other).await.unwrap();
    assert_eq!(lock(8).apply(&mut other).await.unwrap(), Guarded::Conflict(Conflict::Locked));
    holder.commit().await.unwrap();
    assert_eq!(lock(8).apply(&mut other).await.unwrap(), Guarded::Applied);
    other.commit().await.unwrap();
    table.drop().await;
}

#[tokio::test]
async fn a_waiting_transaction_gets_the_lock_when_its_holder_ends() {
    let table = Table::order(Isolation::Default).await;
    let mut holder = begin(&table.pool).await;
    let lock = guard::lock_row(&table.name).id("order_id", 7_i64).apply(&mut holder).await.unwrap();
    assert_eq!(lock, Guarded::Applied);
    let ship = guard::advance_state(&table.name).id("order_id", 7_i64).from("PAID").to("SHIPPED");
    assert_eq!(ship.apply(&mut holder).await.unwrap(), Guarded::Applied);
    let waiting = tokio::spawn({
        let table = table.clone();
        async move {
            let mut tx = begin(&table.pool).await;
            let lock = guard::lock_row(&table.name).id("order_id", 7_i64).unless("state", "SHIPPED");
            let answer = lock.wait(Duration::from_secs(30)).apply(&mut tx).await.unwrap();
            tx.commit().await.unwrap();
            answer
        }
    });
    tokio::task::yield_now().await;
    holder.commit().await.unwrap();
    assert_eq!(waiting.await.unwrap(), Guarded::AlreadyApplied, "it sees what the holder did");
    table.drop().await;
}

#[tokio::test]
async fn without_a_transaction_a_lock_is_refused() {
    let table = Table::order(Isolation::Default).await;
    let mut connection = table.pool.acquire().await.unwrap();
    let error = guard::lock_row(&table.name).id("order_id", 7_i64).apply(&mut connection).await.unwrap_err();
    assert!(error.to_string().contains("there is no transaction on the connection"), "{error}");
    drop(connection);
    table.drop().await;
}

#[tokio::test]
async fn what_is_read_under_the_lock_is_not_overtaken() {
    for &isolation in ISOLATIONS {
        let table = Table::order(isolation).await;
        let answers = table
            .deliver(|mut tx, table| async move {
                let lock = guard::lock_row(&table).id("order_id", 7_i64).wait(Duration::from_secs(30));
                let answer = lock.apply(&mut tx).await;
                if answer.is_err() {
                    return (tx, answer);
                }
                let read = format!("SELECT version FROM {table} WHERE order_id = 7");
                let version: i64 = sqlx::query(AssertSqlSafe(read)).fetch_one(&mut *tx).await.unwrap().get(0);
                let write = format!("UPDATE {table} SET version = {} WHERE order_id = 7", version + 1);
                sqlx::query(AssertSqlSafe(write)).execute(&mut *tx).await.unwrap();
                (tx, answer)
            })
            .await;
        assert_eq!(count(&answers, &Guarded::Applied), DUPLICATES, "{isolation:?}");
        let expected = 3 + i64::try_from(DUPLICATES).unwrap();
        assert_eq!(
            table.number("SELECT version FROM {t} WHERE order_id = 7").await,
            expected,
            "{isolation:?}"
        );
        table.drop().await;
    }
}

/// The documented weakness of this guard alone.
#[tokio::test]
async fn a_lock_without_a_look_at_the_row_lets_a_later_duplicate_through() {
    let table = Table::order(Isolation::Default).await;
    for _delivery in 0..2 {
        let mut tx = begin(&table.pool).await;
        let lock = guard::lock_row(&table.name).id("order_id", 7_i64);
        assert_eq!(lock.apply(&mut tx).await.unwrap(), Guarded::Applied);
        tx.commit().await.unwrap();
    }
    table.drop().await;
}

//! Names and values that look like SQL are quoted or refused.
//!
//! Run alone: `cargo test -p idem-core --all-features --test stores -- cases::names::`

use idem_core::sql::guard::{self, Conflict, Error, Guarded};

use super::{Isolation, Table};

const HOSTILE: [&str; 12] = [
    "x\"; drop table {t}; --",
    "x`; drop table {t}; --",
    "state\" = 'STOLEN' --",
    "state` = 'STOLEN' -- ",
    "x'; drop table {t}; --",
    "[state]",
    "state, version",
    "order_id = order_id or 1",
    "x\\",
    "x\0y",
    "a.b.c",
    "",
];

#[tokio::test]
async fn a_hostile_name_is_refused_wherever_it_is_given() {
    let table = Table::order(Isolation::Default).await;
    let (good, pool) = (table.name.as_str(), &table.pool);
    for hostile in HOSTILE {
        let hostile = &hostile.replace("{t}", good);
        refused(guard::advance_state(hostile).id("order_id", 7_i64).from("PAID").to("A").apply(pool).await);
        refused(guard::advance_state(good).id(hostile, 7_i64).from("PAID").to("A").apply(pool).await);
        refused(
            guard::advance_state(good)
                .column(hostile)
                .id("order_id", 7_i64)
                .from("PAID")
                .to("A")
                .apply(pool)
                .await,
        );
        let set = guard::advance_state(good).id("order_id", 7_i64).from("PAID").to("A").set(hostile, "A");
        refused(set.apply(pool).await);
        refused(guard::bump_version(hostile).id("order_id", 7_i64).read(3).apply(pool).await);
        refused(guard::bump_version(good).id(hostile, 7_i64).read(3).apply(pool).await);
        refused(guard::bump_version(good).id("order_id", 7_i64).column(hostile).carried(4).apply(pool).await);
        refused(guard::bump_version(good).id("order_id", 7_i64).read(3).set(hostile, "A").apply(pool).await);
        refused(guard::insert_once(hostile).key("order_id", 9_i64).apply(pool).await);
        refused(guard::insert_once(good).key(hostile, 9_i64).apply(pool).await);
        refused(guard::insert_once(good).key("order_id", 9_i64).set(hostile, "A").apply(pool).await);
        refused(
            guard::insert_once(good).key("order_id", 9_i64).stamp(hostile, "A").or_update().apply(pool).await,
        );
        let mut tx = pool.begin().await.unwrap();
        refused(guard::lock_row(hostile).id("order_id", 7_i64).apply(&mut tx).await);
        refused(guard::lock_row(good).id(hostile, 7_i64).apply(&mut tx).await);
        refused(guard::lock_row(good).id("order_id", 7_i64).unless(hostile, "A").apply(&mut tx).await);
        tx.rollback().await.unwrap();
    }
    assert_eq!(table.number("SELECT COUNT(*) FROM {t} WHERE state = 'PAID' AND version = 3").await, 1);
    table.drop().await;
}

fn refused(answer: Result<Guarded, Error>) {
    let error = answer.unwrap_err();
    assert!(error.is_name() && error.database().is_none(), "{error}");
}

#[tokio::test]
async fn hostile_values_are_values() {
    let table =
        Table::new("id VARCHAR(64) PRIMARY KEY, state VARCHAR(64), version BIGINT, note VARCHAR(64)").await;
    // PostgreSQL's texts cannot hold the character zero, and say so.
    for value in HOSTILE.iter().filter(|value| !value.contains('\0')) {
        let insert =
            guard::insert_once(&table.name).key("id", *value).set("state", *value).set("version", 1_i64);
        assert_eq!(insert.apply(&table.pool).await.unwrap(), Guarded::Applied);
        let step =
            guard::advance_state(&table.name).id("id", *value).from(*value).to("NEXT").set("note", *value);
        assert_eq!(step.apply(&table.pool).await.unwrap(), Guarded::Applied);
        let mut tx = table.pool.begin().await.unwrap();
        let lock = guard::lock_row(&table.name).id("id", *value).unless("note", *value);
        assert_eq!(lock.apply(&mut tx).await.unwrap(), Guarded::AlreadyApplied);
        tx.rollback().await.unwrap();
        let bump = guard::bump_version(&table.name).id("id", *value).read(1).set("state", *value);
        assert_eq!(bump.apply(&table.pool).await.unwrap(), Guarded::Applied);
        let step =
            guard::advance_state(&table.name).id("id", *value).from("A").to("B").apply(&table.pool).await;
        assert_eq!(step.unwrap(), Guarded::Conflict(Conflict::OtherState(Some((*value).to_owned()))));
    }
    let rows = i64::try_from(HOSTILE.len()).unwrap() - 1;
    assert_eq!(table.number("SELECT COUNT(*) FROM {t} WHERE version = 2").await, rows);
    table.drop().await;
}

#[tokio::test]
async fn a_column_that_is_not_there_is_an_error_that_names_it() {
    let table = Table::order(Isolation::Default).await;
    let error =
        guard::advance_state(&table.name).id("orderid", 7_i64).from("PAID").to("A").apply(&table.pool).await;
    let error = error.unwrap_err();
    assert!(!error.is_name() && !error.is_retryable() && error.to_string().contains("orderid"), "{error}");
    table.drop().await;
}

//! `advance_state` moves a row through its states in one direction only.
//!
//! Run alone: `cargo test -p idem-core --all-features --test stores -- cases::advance::`

use idem_core::sql::guard::{self, Conflict, Guarded};

use super::{DUPLICATES, ISOLATIONS, Isolation, Table, begin, count};

#[tokio::test]
async fn a_state_advances_once_and_its_duplicates_are_told() {
    let table = Table::order(Isolation::Default).await;
    let ship = |id: i64| {
        guard::advance_state(&table.name).id("order_id", id).from("PAID").to("SHIPPED").set("note", "by sea")
    };
    assert_eq!(ship(7).apply(&table.pool).await.unwrap(), Guarded::Applied);
    assert_eq!(table.text("SELECT note FROM {t} WHERE order_id = 7").await.as_deref(), Some("by sea"));
    assert_eq!(ship(7).apply(&table.pool).await.unwrap(), Guarded::AlreadyApplied);
    let other = Guarded::Conflict(Conflict::OtherState(Some("NEW".to_owned())));
    assert_eq!(ship(8).apply(&table.pool).await.unwrap(), other);
    assert_eq!(ship(9).apply(&table.pool).await.unwrap(), Guarded::Conflict(Conflict::NoRow));
    table.run("UPDATE {t} SET state = NULL").await;
    assert_eq!(ship(7).apply(&table.pool).await.unwrap(), Guarded::Conflict(Conflict::OtherState(None)));
    table.drop().await;
}

#[tokio::test]
async fn a_guard_runs_on_a_pool_a_connection_and_a_transaction() {
    let table = Table::order(Isolation::Default).await;
    let step = |from: &'static str, to: &'static str| {
        guard::advance_state(&table.name).id("order_id", 7_i64).from(from).to(to)
    };
    assert_eq!(step("PAID", "A").apply(&table.pool).await.unwrap(), Guarded::Applied);
    let mut connection = table.pool.acquire().await.unwrap();
    assert_eq!(step("A", "B").apply(&mut connection).await.unwrap(), Guarded::Applied);
    assert_eq!(step("B", "C").apply(&mut *connection).await.unwrap(), Guarded::Applied);
    drop(connection);
    let mut tx = begin(&table.pool).await;
    assert_eq!(step("C", "D").apply(&mut tx).await.unwrap(), Guarded::Applied);
    assert_eq!(step("D", "E").apply(&mut *tx).await.unwrap(), Guarded::Applied);
    tx.rollback().await.unwrap();
    assert_eq!(table.text("SELECT state FROM {t} WHERE order_id = 7").await.as_deref(), Some("C"));
    table.drop().await;
}

#[tokio::test]
async fn of_duplicates_at_one_time_one_applies_whatever_the_isolation() {
    for &isolation in ISOLATIONS {
        let table = Table::order(isolation).await;
        let answers = table
            .deliver(|mut tx, table| async move {
                let ship = guard::advance_state(&table).id("order_id", 7_i64).from("PAID").to("SHIPPED");
                let answer = ship.apply(&mut tx).await;
                (tx, answer)
            })
            .await;
        assert_eq!(count(&answers, &Guarded::Applied), 1, "{isolation:?}");
        assert_eq!(count(&answers, &Guarded::AlreadyApplied), DUPLICATES - 1, "{isolation:?}");
        table.drop().await;
    }
}

#[tokio::test]
async fn a_transaction_that_read_before_is_told_or_must_run_again() {
    for &isolation in ISOLATIONS {
        let table = Table::order(isolation).await;
        let ship = || guard::advance_state(&table.name).id("order_id", 7_i64).from("PAID").to("SHIPPED");
        let mut late = table.pool.begin().await.unwrap();
        let read = format!("SELECT state FROM {}", table.name);
        if isolation != Isolation::Serializable {
            sqlx::query(sqlx::AssertSqlSafe(read)).fetch_all(&mut *late).await.unwrap();
        }
        assert_eq!(ship().apply(&table.pool).await.unwrap(), Guarded::Applied);
        match ship().apply(&mut late).await {
            Ok(answer) => assert_eq!(answer, Guarded::AlreadyApplied, "{isolation:?}"),
            Err(error) => assert!(error.is_retryable(), "{isolation:?}: {error}"),
        }
        late.rollback().await.unwrap();
        table.drop().await;
    }
}

#[tokio::test]
async fn a_duplicate_leaves_the_transaction_usable() {
    let table = Table::order(Isolation::Default).await;
    let step = |id: i64, from: &'static str| {
        guard::advance_state(&table.name).id("order_id", id).from(from).to("SHIPPED")
    };
    let mut tx = begin(&table.pool).await;
    assert!(matches!(step(7, "NEW").apply(&mut tx).await.unwrap(), Guarded::Conflict(_)));
    assert_eq!(step(8, "NEW").apply(&mut tx).await.unwrap(), Guarded::Applied);
    tx.commit().await.unwrap();
    assert_eq!(table.text("SELECT state FROM {t} WHERE order_id = 8").await.as_deref(), Some("SHIPPED"));
    table.drop().await;
}

/// The documented weakness of this guard alone.
#[tokio::test]
async fn in_a_cycle_of_states_a_late_duplicate_applies_again() {
    let table = Table::order(Isolation::Default).await;
    let step = |from: &'static str, to: &'static str| {
        guard::advance_state(&table.name).id("order_id", 7_i64).from(from).to(to)
    };
    assert_eq!(step("PAID", "HELD").apply(&table.pool).await.unwrap(), Guarded::Applied);
    assert_eq!(step("HELD", "PAID").apply(&table.pool).await.unwrap(), Guarded::Applied);
    assert_eq!(
        step("PAID", "HELD").apply(&table.pool).await.unwrap(),
        Guarded::Applied,
        "a duplicate of the first"
    );
    table.drop().await;
}

#[tokio::test]
async fn a_statement_that_concerned_several_rows_is_an_error() {
    let table = Table::order(Isolation::Default).await;
    table.run("UPDATE {t} SET state = 'PAID', version = 1").await;
    let mut tx = begin(&table.pool).await;
    let all = guard::advance_state(&table.name).id("version", 1_i64).from("PAID").to("SHIPPED");
    let error = all.apply(&mut tx).await.unwrap_err();
    assert!(error.to_string().contains("concerned 2 rows where one was meant"), "{error}");
    tx.rollback().await.unwrap();
    assert_eq!(table.number("SELECT COUNT(*) FROM {t} WHERE state = 'PAID'").await, 2);
    table.drop().await;
}

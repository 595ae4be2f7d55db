//! `bump_version` changes a row of the expected version only.
//!
//! Run alone: `cargo test -p idem-core --all-features --test stores -- cases::version::`

use idem_core::sql::guard::{self, Conflict, Guarded};

use super::{DUPLICATES, ISOLATIONS, Isolation, Table, count};

fn other(version: i64) -> Guarded {
    Guarded::Conflict(Conflict::OtherVersion(Some(version)))
}

#[tokio::test]
async fn a_version_that_was_read_counts_once() {
    let table = Table::order(Isolation::Default).await;
    let hold = |id: i64, read: i64| {
        guard::bump_version(&table.name).id("order_id", id).read(read).set("state", "HELD")
    };
    assert_eq!(hold(7, 3).apply(&table.pool).await.unwrap(), Guarded::Applied);
    assert_eq!(table.number("SELECT version FROM {t} WHERE order_id = 7").await, 4);
    assert_eq!(table.text("SELECT state FROM {t} WHERE order_id = 7").await.as_deref(), Some("HELD"));
    assert_eq!(
        hold(7, 3).apply(&table.pool).await.unwrap(),
        other(4),
        "the version does not tell who was quicker"
    );
    assert_eq!(hold(9, 3).apply(&table.pool).await.unwrap(), Guarded::Conflict(Conflict::NoRow));
    table.run("UPDATE {t} SET version = NULL").await;
    let null = Guarded::Conflict(Conflict::OtherVersion(None));
    assert_eq!(hold(7, 3).apply(&table.pool).await.unwrap(), null);
    table.drop().await;
}

#[tokio::test]
async fn versions_that_messages_carry_come_in_order_and_once() {
    let table = Table::order(Isolation::Default).await;
    let note = |version: i64, note: &'static str| {
        guard::bump_version(&table.name)
            .column("version")
            .id("order_id", 7_i64)
            .carried(version)
            .set("note", note)
    };
    assert_eq!(note(5, "fifth").apply(&table.pool).await.unwrap(), other(3), "the fourth is to come");
    assert_eq!(note(4, "fourth").apply(&table.pool).await.unwrap(), Guarded::Applied);
    assert_eq!(note(5, "fifth").apply(&table.pool).await.unwrap(), Guarded::Applied);
    assert_eq!(note(4, "fourth").apply(&table.pool).await.unwrap(), Guarded::AlreadyApplied);
    assert_eq!(table.text("SELECT note FROM {t} WHERE order_id = 7").await.as_deref(), Some("fifth"));
    table.drop().await;
}

#[tokio::test]
async fn of_duplicates_at_one_time_one_applies_whatever_the_isolation() {
    for &isolation in ISOLATIONS {
        let table = Table::order(isolation).await;
        let answers = table
            .deliver(|mut tx, table| async move {
                let answer =
                    guard::bump_version(&table).id("order_id", 7_i64).carried(4).apply(&mut tx).await;
                (tx, answer)
            })
            .await;
        assert_eq!(count(&answers, &Guarded::Applied), 1, "{isolation:?}");
        assert_eq!(count(&answers, &Guarded::AlreadyApplied), DUPLICATES - 1, "{isolation:?}");
        let answers = table
            .deliver(|mut tx, table| async move {
                let answer = guard::bump_version(&table).id("order_id", 7_i64).read(4).apply(&mut tx).await;
                (tx, answer)
            })
            .await;
        assert_eq!(count(&answers, &Guarded::Applied), 1, "{isolation:?}");
        assert_eq!(count(&answers, &other(5)), DUPLICATES - 1, "{isolation:?}");
        table.drop().await;
    }
}

/// The documented weakness of this guard alone.
#[tokio::test]
async fn a_duplicate_that_reads_the_new_version_applies_again() {
    let table = Table::order(Isolation::Default).await;
    for _delivery in 0..2 {
        let read = table.number("SELECT version FROM {t} WHERE order_id = 7").await;
        let bump = guard::bump_version(&table.name).id("order_id", 7_i64).read(read);
        assert_eq!(bump.apply(&table.pool).await.unwrap(), Guarded::Applied);
    }
    assert_eq!(table.number("SELECT version FROM {t} WHERE order_id = 7").await, 5);
    table.drop().await;
}

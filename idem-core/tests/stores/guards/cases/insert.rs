//! `insert_once` inserts a key once.
//!
//! Run alone: `cargo test -p idem-core --all-features --test stores -- cases::insert::`

use idem_core::sql::guard::{self, Conflict, Guarded};

use super::{ASKS_FOR_THE_INDEX, BYTES, DUPLICATES, Db, ISOLATIONS, Table, begin, count};

const COLUMNS: &str = "order_id BIGINT NOT NULL, scene VARCHAR(32) NOT NULL, amount BIGINT, message_id VARCHAR(32), \
                       serial VARCHAR(32) UNIQUE, PRIMARY KEY (order_id, scene)";

fn flow<'q>(table: &str, scene: &'q str, amount: Option<i64>) -> guard::InsertOnce<'q, Db> {
    guard::insert_once(table).key("order_id", 7_i64).key("scene", scene).set("amount", amount)
}

#[tokio::test]
async fn a_row_is_inserted_once_and_its_duplicates_are_told() {
    let table = Table::new(COLUMNS).await;
    let gmv = |amount, message| flow(&table.name, "gmv", amount).stamp("message_id", message);
    assert_eq!(gmv(Some(5), "a").apply(&table.pool).await.unwrap(), Guarded::Applied);
    assert_eq!(
        gmv(Some(5), "b").apply(&table.pool).await.unwrap(),
        Guarded::AlreadyApplied,
        "the stamp may differ"
    );
    let other = Guarded::Conflict(Conflict::OtherValues);
    assert_eq!(gmv(Some(6), "c").apply(&table.pool).await.unwrap(), other);
    assert_eq!(gmv(None, "c").apply(&table.pool).await.unwrap(), other);
    assert_eq!(flow(&table.name, "points", None).apply(&table.pool).await.unwrap(), Guarded::Applied);
    assert_eq!(flow(&table.name, "points", None).apply(&table.pool).await.unwrap(), Guarded::AlreadyApplied);
    assert_eq!(table.text("SELECT message_id FROM {t} WHERE scene = 'gmv'").await.as_deref(), Some("a"));
    table.drop().await;
}

#[tokio::test]
async fn a_key_alone_is_enough() {
    let table = Table::new("flow VARCHAR(32) PRIMARY KEY").await;
    let insert = || guard::insert_once(&table.name).key("flow", "one".to_owned());
    assert_eq!(insert().apply(&table.pool).await.unwrap(), Guarded::Applied);
    assert_eq!(insert().apply(&table.pool).await.unwrap(), Guarded::AlreadyApplied);
    assert_eq!(insert().or_update().apply(&table.pool).await.unwrap(), Guarded::AlreadyApplied);
    table.drop().await;
}

#[tokio::test]
async fn an_upsert_takes_other_values_and_tells_the_same_ones() {
    let table = Table::new(COLUMNS).await;
    let upsert = |amount, message| flow(&table.name, "gmv", amount).stamp("message_id", message).or_update();
    assert_eq!(upsert(Some(5), "a").apply(&table.pool).await.unwrap(), Guarded::Applied);
    assert_eq!(upsert(Some(5), "b").apply(&table.pool).await.unwrap(), Guarded::AlreadyApplied);
    assert_eq!(table.text("SELECT message_id FROM {t}").await.as_deref(), Some("a"));
    assert_eq!(upsert(None, "c").apply(&table.pool).await.unwrap(), Guarded::Applied);
    assert_eq!(upsert(None, "d").apply(&table.pool).await.unwrap(), Guarded::AlreadyApplied);
    assert_eq!(table.text("SELECT message_id FROM {t}").await.as_deref(), Some("c"));
    // The documented weakness: an old message that comes late undoes the later one.
    assert_eq!(upsert(Some(5), "a").apply(&table.pool).await.unwrap(), Guarded::Applied);
    table.drop().await;
}

#[tokio::test]
async fn a_duplicate_leaves_the_transaction_usable() {
    let table = Table::new(COLUMNS).await;
    assert_eq!(flow(&table.name, "gmv", Some(5)).apply(&table.pool).await.unwrap(), Guarded::Applied);
    let mut tx = begin(&table.pool).await;
    assert_eq!(flow(&table.name, "gmv", Some(5)).apply(&mut tx).await.unwrap(), Guarded::AlreadyApplied);
    let other = flow(&table.name, "gmv", Some(6)).apply(&mut tx).await.unwrap();
    assert_eq!(other, Guarded::Conflict(Conflict::OtherValues));
    assert_eq!(flow(&table.name, "points", None).apply(&mut tx).await.unwrap(), Guarded::Applied);
    tx.commit().await.unwrap();
    assert_eq!(table.number("SELECT COUNT(*) FROM {t}").await, 2);
    table.drop().await;
}

#[tokio::test]
async fn of_duplicates_at_one_time_one_inserts_whatever_the_isolation() {
    for &isolation in ISOLATIONS {
        let table = Table::isolated(COLUMNS, isolation).await;
        let answers = table
            .deliver(|mut tx, table| async move {
                let answer = flow(&table, "gmv", Some(5)).apply(&mut tx).await;
                (tx, answer)
            })
            .await;
        assert_eq!(count(&answers, &Guarded::Applied), 1, "{isolation:?}");
        assert_eq!(count(&answers, &Guarded::AlreadyApplied), DUPLICATES - 1, "{isolation:?}");
        let answers = table
            .deliver(|mut tx, table| async move {
                let answer = flow(&table, "gmv", Some(6)).or_update().apply(&mut tx).await;
                (tx, answer)
            })
            .await;
        assert_eq!(count(&answers, &Guarded::Applied), 1, "{isolation:?}");
        assert_eq!(count(&answers, &Guarded::AlreadyApplied), DUPLICATES - 1, "{isolation:?}");
        table.drop().await;
    }
}

#[tokio::test]
async fn another_unique_index_is_an_error_without_the_value() {
    let table = Table::new(COLUMNS).await;
    let with = |scene| flow(&table.name, scene, None).stamp("serial", "top-secret");
    assert_eq!(with("gmv").apply(&table.pool).await.unwrap(), Guarded::Applied);
    let error = with("points").apply(&table.pool).await.unwrap_err();
    assert!(!error.is_retryable() && error.database().unwrap().is_unique_violation(), "{error}");
    let texts = format!("{error} {error:?}") + &idem_core::HandlerError::from(error).to_string();
    assert!(!texts.contains("top-secret"), "{texts}");
    table.drop().await;
}

/// MySQL cannot be asked for the index by an insert: the documentation says that it inserts twice there.
#[tokio::test]
async fn a_key_without_a_unique_index_is_an_error_where_the_database_tells() {
    let table = Table::new("flow VARCHAR(32)").await;
    let insert = || guard::insert_once(&table.name).key("flow", "one");
    if ASKS_FOR_THE_INDEX {
        let error = insert().apply(&table.pool).await.unwrap_err().to_string();
        assert!(
            error.to_lowercase().contains("on conflict") && error.to_lowercase().contains("unique"),
            "{error}"
        );
    } else {
        assert_eq!(insert().apply(&table.pool).await.unwrap(), Guarded::Applied);
        assert_eq!(insert().apply(&table.pool).await.unwrap(), Guarded::Applied);
    }
    table.drop().await;
}

#[tokio::test]
async fn values_of_many_types_are_bound() {
    let key = if BYTES == "BYTEA" { "BYTEA" } else { "VARBINARY(64)" };
    let table = Table::new(&format!(
        "id {key} PRIMARY KEY, text VARCHAR(32), small INT, price DOUBLE PRECISION, on_sale BOOLEAN, raw {BYTES}"
    ))
    .await;
    let id = rand::random::<[u8; 16]>();
    let owned = String::from("'quoted' \"text\" `here` \\ %");
    let insert = || {
        guard::insert_once(&table.name)
            .key("id", &id[..])
            .set("text", &owned)
            .set("small", 3_i32)
            .set("price", 1.25_f64)
            .set("on_sale", true)
            .set("raw", vec![0_u8, 255])
    };
    assert_eq!(insert().apply(&table.pool).await.unwrap(), Guarded::Applied);
    assert_eq!(insert().apply(&table.pool).await.unwrap(), Guarded::AlreadyApplied);
    assert_eq!(table.text("SELECT text FROM {t}").await.unwrap(), owned);
    table.drop().await;
}

/// The documented weakness of this guard alone.
#[tokio::test]
async fn a_key_that_was_deleted_counts_as_new() {
    let table = Table::new(COLUMNS).await;
    let gmv = || flow(&table.name, "gmv", Some(5));
    assert_eq!(gmv().apply(&table.pool).await.unwrap(), Guarded::Applied);
    table.run("DELETE FROM {t}").await;
    assert_eq!(gmv().apply(&table.pool).await.unwrap(), Guarded::Applied, "a duplicate of the first");
    table.drop().await;
}

//! The rules of every SQL store beyond the conformance suite.
//!
//! Run alone: `cargo test -p idem-core --all-features --test stores -- databases::`

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use idem_core::admin::{Admin, AdminError};
use idem_core::store::{Answer, Claim, ClaimRequest, CompleteRequest, Purge, Store};
use idem_core::{Fence, IdempotencyKey, Namespace, RecordKey, Token};

use crate::support::records::{claims, rival, until};
use crate::support::sql::{Database, becomes};

/// Makes a test of each rule for a [`Database`] with tables.
macro_rules! sql_tests {
    ($harness:expr) => {
        $crate::databases::rules::sql_tests! { $harness;
            of_concurrent_claimers_one_wins
            concurrent_batches_in_opposite_orders_all_end
            an_expired_record_is_absent_though_it_was_not_purged
            expired_records_are_purged_and_live_ones_stay
            another_members_purge_is_left_alone_until_its_lease_is_over
            a_purge_goes_on_where_the_last_one_ended
            a_purge_never_takes_what_a_person_has_just_decided
            older_and_newer_tables_are_refused
            migrations_can_be_repeated_and_run_side_by_side
            names_are_settable_and_foreign_ones_are_refused
            keys_that_are_too_long_for_an_index_are_kept_apart
            a_store_outlives_its_callers_runtimes
            how_many_connections_there_are_is_told
        }
    };
    ($harness:expr; $($rule:ident)*) => {$(
        #[tokio::test]
        async fn $rule() {
            $crate::databases::rules::$rule(&$harness).await;
        }
    )*};
}

pub(crate) use sql_tests;

async fn open(database: &dyn Database) -> Arc<dyn Store> {
    database.open(None, Purge::off()).await.unwrap()
}

/// Of stores with connections of their own, also while leases run out and keys change hands.
pub(crate) async fn of_concurrent_claimers_one_wins(database: &dyn Database) {
    let stores = [open(database).await, open(database).await, open(database).await];
    for round in 0..15 {
        let keys = claims(40);
        let batches: Vec<Vec<ClaimRequest>> = (0..6)
            .map(|claimer| {
                let mut batch: Vec<_> = keys.iter().map(rival).collect();
                if claimer % 2 == 0 {
                    batch.reverse();
                }
                batch
            })
            .collect();
        let answers =
            join_all(batches.iter().zip(stores.iter().cycle()).map(|(batch, store)| store.claim(batch)))
                .await;
        let won = answers
            .into_iter()
            .flat_map(|answers| answers.unwrap())
            .filter(|answer| matches!(answer.as_ref().unwrap(), Claim::Claimed { .. }));
        assert_eq!(won.count(), keys.len(), "round {round}");
    }
}

/// Claims and completions of the same keys: nothing fails, and each key is completed once.
pub(crate) async fn concurrent_batches_in_opposite_orders_all_end(database: &dyn Database) {
    let stores = [open(database).await, open(database).await];
    let keys = claims(60);
    let one = |reverse: bool, store: Arc<dyn Store>| {
        let mut batch: Vec<_> = keys.iter().map(rival).collect();
        if reverse {
            batch.reverse();
        }
        async move {
            let mut done = 0;
            for _ in 0..5 {
                let claimed = store.claim(&batch).await.unwrap();
                let completions: Vec<_> = batch
                    .iter()
                    .zip(claimed)
                    .filter_map(|(claim, answer)| completion(claim, &answer.unwrap()))
                    .collect();
                for answer in store.complete(&completions).await.unwrap() {
                    assert_eq!(answer.unwrap(), Answer::Done);
                    done += 1;
                }
            }
            done
        }
    };
    let done = join_all((0..6).map(|task| one(task % 2 == 0, stores[task % 2].clone()))).await;
    assert_eq!(done.iter().sum::<usize>(), keys.len());
}

fn completion(claim: &ClaimRequest, answer: &Claim) -> Option<CompleteRequest> {
    let Claim::Claimed { fence, .. } = answer else { return None };
    Some(complete(&claim.key, claim.token, *fence))
}

fn complete(key: &RecordKey, token: Token, fence: Fence) -> CompleteRequest {
    let (key, retention) = (key.clone(), Duration::from_mins(1));
    CompleteRequest::new(key, token, fence, retention, idem_core::MemberId::random())
}

/// For every operation.
pub(crate) async fn an_expired_record_is_absent_though_it_was_not_purged(database: &dyn Database) {
    let store = open(database).await;
    let batch = claims(5);
    store.claim(&batch).await.unwrap();
    database.run("UPDATE {table} SET attempts = 7, expires_at = 1000").await;
    assert_eq!(store.read(&batch[0].key).await.unwrap(), None);
    assert!(!store.remove(&batch[0].key, None).await.unwrap());
    let again = rival(&batch[1]);
    let answer = store.claim(std::slice::from_ref(&again)).await.unwrap().remove(0).unwrap();
    assert!(matches!(answer, Claim::Claimed { attempt: 1, .. }), "{answer:?}");
    let late = complete(&batch[2].key, Token::random(), Fence(5));
    assert_eq!(store.complete(&[late]).await.unwrap().remove(0).unwrap(), Answer::Done);
    let record = store.read(&batch[2].key).await.unwrap().unwrap();
    assert_eq!(record.attempts, 0);
    assert_eq!(database.count("SELECT count(*) FROM {table}").await, 5);
}

/// In many ranges, to the table's end.
pub(crate) async fn expired_records_are_purged_and_live_ones_stay(database: &dyn Database) {
    let store = open(database).await;
    let (expired, live) = (claims(200), claims(50));
    store.claim(&expired).await.unwrap();
    database.run("UPDATE {table} SET expires_at = 1000").await;
    store.claim(&live).await.unwrap();
    let purge = Purge::default().every(Duration::from_millis(50)).rows(7);
    let purger = database.open(None, purge).await.unwrap();
    becomes(database, "SELECT count(*) FROM {table}", 50).await;
    for request in &live {
        assert!(store.read(&request.key).await.unwrap().is_some());
    }
    // It goes on doing so, walk after walk.
    store.claim(&expired).await.unwrap();
    database.run("UPDATE {table} SET expires_at = 1000").await;
    becomes(database, "SELECT count(*) FROM {table}", 0).await;
    drop(purger);
}

/// One member at a time.
pub(crate) async fn another_members_purge_is_left_alone_until_its_lease_is_over(database: &dyn Database) {
    let store = open(database).await;
    store.claim(&claims(20)).await.unwrap();
    database.run("UPDATE {table} SET expires_at = 1000").await;
    database
        .run("UPDATE {meta} SET holder = (SELECT token FROM {table} LIMIT 1), value = 8000000000000000 WHERE name = 'purge'")
        .await;
    let purge = Purge::default().every(Duration::from_millis(10));
    let _purger = database.open(None, purge).await.unwrap();
    // A purge that must not happen would happen within this time.
    for _ in 0..30 {
        assert_eq!(database.count("SELECT count(*) FROM {table}").await, 20);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    database.run("UPDATE {meta} SET value = 1000 WHERE name = 'purge'").await;
    becomes(database, "SELECT count(*) FROM {table}", 0).await;
}

/// The purger before died on its way; what is before that place is for the next walk.
pub(crate) async fn a_purge_goes_on_where_the_last_one_ended(database: &dyn Database) {
    let store = open(database).await;
    store.claim(&claims(20)).await.unwrap();
    database.run("UPDATE {table} SET expires_at = 1000").await;
    database
        .run("UPDATE {meta} SET position = (SELECT max_key FROM (SELECT key AS max_key FROM {table} ORDER BY key DESC LIMIT 1) AS r) WHERE name = 'purge'")
        .await;
    let purger = database.open(None, Purge::default()).await.unwrap();
    // The walk over nothing ends at once, and the next one begins at the beginning.
    becomes(database, "SELECT count(*) FROM {meta} WHERE name = 'purge' AND length(position) = 0", 1).await;
    assert_eq!(database.count("SELECT count(*) FROM {table}").await, 20);
    drop(purger);
}

/// The records have expired when both come to them, and the purge walks all the time.
pub(crate) async fn a_purge_never_takes_what_a_person_has_just_decided(database: &dyn Database) {
    let store = open(database).await;
    let purge = Purge::default().every(Duration::from_millis(1)).rows(10);
    let _purger = database.open(None, purge).await.unwrap();
    let admin = Admin::new(store.clone(), "a person").retention(Duration::from_mins(1));
    for _ in 0..5 {
        let short =
            |claim| ClaimRequest { lease: Duration::from_millis(20), retention: Duration::ZERO, ..claim };
        let batch: Vec<_> = claims(20).into_iter().map(short).collect();
        store.claim(&batch).await.unwrap();
        let decide = batch.iter().map(async |claim| {
            until("the lease is over", async || match admin.done(&claim.key, "it is done").await {
                Err(AdminError::Live { .. }) => false,
                decided => decided.unwrap().changed,
            })
            .await;
        });
        join_all(decide).await;
        for claim in &batch {
            let answer = store.claim(&[rival(claim)]).await.unwrap().remove(0).unwrap();
            assert!(matches!(answer, Claim::Completed { .. }), "{answer:?}");
        }
    }
}

/// With an error that says what to run.
pub(crate) async fn older_and_newer_tables_are_refused(database: &dyn Database) {
    database.run("UPDATE {meta} SET value = 0 WHERE name = 'schema'").await;
    let error = database.open(None, Purge::off()).await.err().unwrap();
    assert!(error.is_config() && error.to_string().contains("migrate()"), "{error}");
    database.run("UPDATE {meta} SET value = 99 WHERE name = 'schema'").await;
    let error = database.open(None, Purge::off()).await.err().unwrap();
    assert!(error.is_config() && error.to_string().contains("upgrade this process"), "{error}");
    database.migrate(None).await.unwrap();
    assert_eq!(database.count("SELECT value FROM {meta} WHERE name = 'schema'").await, 99);
}

const DROP_ALL: &str = "DROP TABLE {table}; DROP TABLE {meta}; DROP TABLE {members}; DROP TABLE {audit}";

/// By members that start together; and as plain SQL.
pub(crate) async fn migrations_can_be_repeated_and_run_side_by_side(database: &dyn Database) {
    database.run(DROP_ALL).await;
    for migrated in join_all((0..4).map(|_| database.migrate(None))).await {
        migrated.unwrap();
    }
    open(database).await.claim(&claims(1)).await.unwrap();
    database.migrate(None).await.unwrap();
    assert_eq!(database.count("SELECT count(*) FROM {table}").await, 1);
    database.run(DROP_ALL).await;
    database.run(&database.migrations()).await;
    open(database).await.claim(&claims(1)).await.unwrap();
}

/// Every name is quoted, and what could end a quote is refused before.
pub(crate) async fn names_are_settable_and_foreign_ones_are_refused(database: &dyn Database) {
    for table in ["select", "Dedup-2", "order"] {
        database.migrate(Some(table)).await.unwrap();
        let store = database.open(Some(table), Purge::default()).await.unwrap();
        let batch = claims(3);
        for answer in store.claim(&batch).await.unwrap() {
            assert!(matches!(answer.unwrap(), Claim::Claimed { attempt: 1, .. }));
        }
        assert!(store.remove(&batch[0].key, None).await.unwrap());
    }
    for table in [r#"x"; drop table y; --"#, "x`; drop table y; --", "", "a.b", "x'", "\0"] {
        let error = database.migrate(Some(table)).await.unwrap_err();
        assert!(error.is_config() && error.to_string().contains("refused"), "{error}");
        assert!(database.open(Some(table), Purge::off()).await.is_err_and(|error| error.is_config()));
    }
    assert_eq!(database.count("SELECT count(*) FROM {table}").await, 0);
}

/// Though they differ in their last byte.
pub(crate) async fn keys_that_are_too_long_for_an_index_are_kept_apart(database: &dyn Database) {
    let store = open(database).await;
    let long = |end: &str| {
        let key = IdempotencyKey::new(format!("{}{end}", "k".repeat(5_000))).unwrap();
        ClaimRequest { key: RecordKey::new(Namespace::new(["long"]), key), ..claims(1).remove(0) }
    };
    let batch = [long("a"), long("b"), long("a")];
    let answers = store.claim(&batch).await.unwrap();
    let won: Vec<_> =
        answers.into_iter().map(|answer| matches!(answer.unwrap(), Claim::Claimed { .. })).collect();
    assert_eq!(won, [true, true, false]);
    assert!(store.remove(&batch[0].key, None).await.unwrap());
    assert!(store.read(&batch[1].key).await.unwrap().is_some());
}

/// Its connections live on idem's own.
pub(crate) async fn a_store_outlives_its_callers_runtimes(database: &dyn Database) {
    let store = open(database).await;
    let other = std::thread::spawn(move || {
        for _ in 0..3 {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(store.claim(&claims(5))).unwrap();
        }
        store
    });
    let store = other.join().unwrap();
    store.claim(&claims(5)).await.unwrap();
}

/// For the check of connections against handlers.
pub(crate) async fn how_many_connections_there_are_is_told(database: &dyn Database) {
    assert!(matches!(open(database).await.connections(), Some(1 | 3)));
}

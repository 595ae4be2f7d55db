//! Handlers that go on after their transaction has ended.
//!
//! Run alone: `cargo test -p idem-core --all-features --test stores -- transactions::ended::`

use std::sync::Arc;

use idem_core::engine::{Commit, Engine, Gate};
use idem_core::store::Store;
use idem_core::{HandlerResult, Outcome, Verdict};
use sqlx::sqlite::{SqliteConnection, SqlitePoolOptions};
use sqlx::{Executor as _, PgPool};

use super::driver::Foreign;
use super::together::outcomes;
use crate::support::bank::{Bank, gate, handle, job};
use crate::support::batches::{Batches, Name, good, settings};
use crate::support::mysql::MySql;
use crate::support::postgres::Postgres;
use crate::support::sqlite::Sqlite;

/// Ends the transaction, pays, and looks at no error.
async fn end_and_pay<B: Bank>(on: &mut B::Connection, end: &str) {
    let _ = B::execute(on, end).await;
    for id in ["2", "3"] {
        let _ = B::pay(on, id).await;
    }
}

fn said(fails: bool) -> HandlerResult {
    if fails { Err("no".into()) } else { Ok(()) }
}

async fn done<B: Bank>(gate: &Gate, attempt: u32) {
    let done =
        handle::<B>(gate, job("1"), async |on: &mut B::Connection| Ok(B::pay(on, "1").await.map(drop)?));
    let done = done.await;
    assert_eq!((done.outcome, done.attempt), (Outcome::Completed, attempt), "{done:?}");
}

/// Whatever a handler says in the end.
pub(crate) async fn what_a_handler_does_behind_its_own_rollback_is_not_kept<B: Bank>() {
    let bank = B::open().await;
    let gate = gate(&bank, settings()).await;
    for (attempt, fails) in [(1, false), (2, true)] {
        let failed = handle::<B>(&gate, job("1"), async |on: &mut B::Connection| {
            B::pay(on, "1").await?;
            end_and_pay::<B>(on, "ROLLBACK").await;
            said(fails)
        });
        let failed = failed.await;
        assert_eq!((failed.outcome, failed.attempt, bank.paid().await), (Outcome::Failed, attempt, 0));
        let (reason, advice) = (failed.reason.unwrap(), "a handler neither commits nor rolls back");
        assert_eq!(reason.contains(advice), !fails, "{reason}");
    }
    done::<B>(&gate, 3).await;
    assert_eq!(bank.paid().await, 1);
}

/// Work before its commit is kept and never repeated; work after it is not kept. SQLite refuses the commit.
pub(crate) async fn what_a_handler_has_committed_by_itself_is_kept_once<B: Bank>() {
    for fails in [false, true] {
        let bank = B::open().await;
        let gate = gate(&bank, settings()).await;
        let half = handle::<B>(&gate, job("1"), async |on: &mut B::Connection| {
            B::pay(on, "1").await?;
            end_and_pay::<B>(on, "COMMIT").await;
            said(fails)
        });
        let half = half.await;
        if !B::LETS_COMMIT {
            assert_eq!((half.outcome, half.attempt, bank.paid().await), (Outcome::Failed, 1, 0), "{half:?}");
            done::<B>(&gate, 2).await;
            continue;
        }
        let (verdict, outcome, reason) = (half.verdict, half.outcome, half.reason.unwrap());
        assert_eq!((verdict, outcome), (Verdict::DeadLetter, Outcome::CommittedByHandler), "{reason}");
        assert!(reason.contains("a commit of its own") && reason.ends_with("no") == fails, "{reason}");
        assert_eq!((half.attempt, bank.paid().await), (1, 1));
        let again = handle::<B>(&gate, job("1"), async |_: &mut B::Connection| panic!("it is not repeated"));
        assert_eq!((again.await.outcome, bank.paid().await), (Outcome::Duplicate, 1));
    }
}

/// In a call for many messages, each of them may be the one that was done.
pub(crate) async fn what_a_batch_has_committed_by_itself_is_kept_once<B: Bank>() {
    let batches = Batches::<B>::open(Commit::Together, settings()).await;
    let work = async |on: &mut B::Connection, names: &[Name]| {
        end_and_pay::<B>(on, "COMMIT").await;
        good(names)
    };
    let half = batches.pay(&["1", "4"], work).await;
    if !B::LETS_COMMIT {
        assert_eq!((outcomes(&half), batches.bank.paid().await), (vec![(Outcome::Failed, 1); 2], 0));
        return;
    }
    assert_eq!(
        outcomes(&half).iter().map(|(outcome, _)| *outcome).collect::<Vec<_>>(),
        [Outcome::CommittedByHandler; 2]
    );
    assert_eq!((batches.calls().len(), batches.bank.paid().await), (1, 2));
    let again =
        batches.pay(&["1", "4"], async |_: &mut B::Connection, _: &[Name]| panic!("it is not repeated"));
    assert_eq!(outcomes(&again.await), [(Outcome::Duplicate, 0); 2]);
}

macro_rules! ended_tests {
    ($($bank:ident as $module:ident),*) => {$(
        mod $module {
            use super::$bank;

            crate::transactions::transaction_tests! {
                $bank: ended:
                what_a_handler_does_behind_its_own_rollback_is_not_kept
                what_a_handler_has_committed_by_itself_is_kept_once
                what_a_batch_has_committed_by_itself_is_kept_once
            }
        }
    )*};
}

ended_tests!(Postgres as postgres, MySql as mysql, Sqlite as sqlite, Foreign as driver);

/// As a disk that is full, a conflict or a trigger has SQLite do by itself.
#[tokio::test]
async fn what_a_handler_does_after_sqlite_has_rolled_back_is_not_kept() {
    let bank = <Sqlite as Bank>::open().await;
    bank.execute(
        "CREATE TRIGGER refuses BEFORE INSERT ON payments WHEN NEW.id = 'bad' \
         BEGIN SELECT RAISE(ROLLBACK, 'no'); END; \
         CREATE TABLE large (bytes blob)",
    )
    .await;
    let gate = gate(&bank, settings()).await;
    let ends = [
        "INSERT OR ROLLBACK INTO payments VALUES ('1', 1)",
        "INSERT INTO payments VALUES ('bad', 1)",
        "PRAGMA max_page_count = 60; INSERT INTO large VALUES (zeroblob(10000000))",
    ];
    for (end, attempt) in ends.into_iter().zip(1..) {
        let failed = handle::<Sqlite>(&gate, job("1"), async |on: &mut SqliteConnection| {
            Sqlite::pay(on, "1").await?;
            end_and_pay::<Sqlite>(on, end).await;
            let _ = on.execute("SAVEPOINT own; INSERT INTO payments VALUES ('4', 1); RELEASE own").await;
            let _ = on.execute("BEGIN; INSERT INTO payments VALUES ('5', 1); COMMIT").await;
            Ok(())
        });
        let failed = failed.await;
        assert_eq!(
            (failed.outcome, failed.attempt, bank.paid().await),
            (Outcome::Failed, attempt, 0),
            "{end}"
        );
    }
    done::<Sqlite>(&gate, 4).await;
    assert_eq!(bank.paid().await, 1);
}

/// A handler of a store that shares the program's own pool.
fn gate_of(store: impl Store) -> Gate {
    let settings = settings().resolve().unwrap();
    Engine::new(Arc::new(store)).transactional_gate("pay", settings, Commit::Each, None).unwrap()
}

#[tokio::test]
async fn a_pool_s_connections_write_for_others_before_and_after_a_handler_in_postgres() {
    let bank = <Postgres as Bank>::open().await;
    let options: sqlx::postgres::PgConnectOptions = bank.url.parse().unwrap();
    let pool = sqlx::postgres::PgPoolOptions::new().max_connections(3);
    let pool: PgPool = pool.connect_lazy_with(options.options([("search_path", &*bank.schema)]));
    let store = idem_core::PostgresStore::pool(pool.clone()).connect().await.unwrap();
    let gate = gate_of(store);
    for name in ["a", "b", "c", "d"] {
        let ended = handle::<Postgres>(&gate, job(name), async |on: &mut sqlx::PgConnection| {
            end_and_pay::<Postgres>(on, if name == "b" { "ROLLBACK" } else { "SELECT 1" }).await;
            said(name != "a")
        });
        ended.await;
        pool.execute("INSERT INTO payments VALUES ('x', 1); DELETE FROM payments WHERE id = 'x'")
            .await
            .unwrap();
    }
    assert_eq!(bank.paid().await, 2);
}

#[tokio::test]
async fn a_pool_s_connections_write_for_others_before_and_after_a_handler_in_mysql() {
    let bank = <MySql as Bank>::open().await;
    let url = format!("{}/{}", bank.url.rsplit_once('/').unwrap().0, bank.database);
    let pool = sqlx::mysql::MySqlPoolOptions::new().max_connections(3).connect_lazy(&url).unwrap();
    let store = idem_core::MySqlStore::pool(pool.clone()).connect().await.unwrap();
    let gate = gate_of(store);
    for name in ["a", "b", "c", "d"] {
        let ended = handle::<MySql>(&gate, job(name), async |on: &mut sqlx::MySqlConnection| {
            end_and_pay::<MySql>(on, if name == "b" { "ROLLBACK" } else { "SELECT 1" }).await;
            said(name != "a")
        });
        ended.await;
        for sql in ["INSERT INTO payments VALUES ('x', 1)", "DELETE FROM payments WHERE id = 'x'"] {
            assert_eq!(pool.execute(sql).await.unwrap().rows_affected(), 1);
        }
    }
    assert_eq!(bank.paid().await, 2);
}

#[tokio::test]
async fn a_pool_s_connections_write_for_others_before_and_after_a_handler_in_sqlite() {
    let bank = <Sqlite as Bank>::open().await;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(bank.path());
    let pool = SqlitePoolOptions::new().max_connections(2).connect_lazy_with(options);
    let store = idem_core::SqliteStore::pool(pool.clone()).open().await.unwrap();
    let gate = gate_of(store);
    for name in ["a", "b", "c", "d"] {
        let ended = handle::<Sqlite>(&gate, job(name), async |on: &mut SqliteConnection| {
            end_and_pay::<Sqlite>(on, if name == "b" { "ROLLBACK" } else { "SELECT 1" }).await;
            said(name != "a")
        });
        ended.await;
        pool.execute("INSERT INTO payments VALUES ('x', 1); DELETE FROM payments WHERE id = 'x'")
            .await
            .unwrap();
    }
    assert_eq!(bank.paid().await, 2);
}

//! Transactions on MariaDB and MySQL.
//!
//! Run alone: `cargo test -p idem-core --features conformance,mysql --test stores -- transactions::mysql::`

use std::sync::Arc;
use std::time::Duration;

use idem_core::store::Store;
use idem_core::{MySqlStore, Outcome, Settings};
use sqlx::{AssertSqlSafe, Executor as _, MySqlConnection};

use super::rules;
use crate::support::bank::{Bank, gate, handle, job};
use crate::support::mysql::MySql;

impl Bank for MySql {
    type Connection = MySqlConnection;

    async fn open() -> Self {
        let bank = Self::new().await;
        let table = format!("{}.payments", bank.database);
        bank.execute(&format!("CREATE TABLE {table} (id varchar(20) PRIMARY KEY, amount bigint)")).await;
        bank
    }

    async fn store(&self, wait: Duration) -> Arc<dyn Store> {
        let url = format!("{}/{}", self.url.rsplit_once('/').unwrap().0, self.database);
        let store = MySqlStore::builder(url).connections(2).transactions(2).response_timeout(wait);
        Arc::new(store.connect().await.unwrap())
    }

    async fn execute(on: &mut MySqlConnection, sql: &str) -> sqlx::Result<u64> {
        Ok(on.execute(AssertSqlSafe(sql.to_owned())).await?.rows_affected())
    }

    async fn paid(&self) -> i64 {
        self.number(&format!("SELECT count(*) FROM {}.payments", self.database)).await
    }
}

super::transaction_tests!(MySql);

#[tokio::test]
async fn an_open_transaction_holds_up_no_lease_of_another_key() {
    rules::an_open_transaction_holds_up_no_lease_of_another_key::<MySql>().await;
}

#[tokio::test]
async fn claims_together_with_a_taken_key_are_a_conflict() {
    rules::claims_together_with_a_taken_key_are_a_conflict::<MySql>().await;
}

#[tokio::test]
async fn a_wait_for_another_claim_is_bounded() {
    rules::a_wait_for_another_claim_is_bounded::<MySql>().await;
}

/// A change of a table commits what was done before it, and nothing behind it is kept. Its message is not acked, and not run
/// again.
#[tokio::test]
async fn a_change_of_a_table_is_no_ack() {
    let bank = <MySql as Bank>::open().await;
    let gate = gate(&bank, Settings::new()).await;
    for sql in ["CREATE TABLE more (id int)", "START TRANSACTION"] {
        let half = handle::<MySql>(&gate, job(sql), async |on: &mut MySqlConnection| {
            <MySql as Bank>::execute(on, sql).await?;
            MySql::pay(on, "lost").await?;
            Err("no".into())
        });
        let half = half.await;
        assert_eq!((half.outcome, half.attempt), (Outcome::CommittedByHandler, 1), "{sql}: {half:?}");
        let again =
            handle::<MySql>(&gate, job(sql), async |_: &mut MySqlConnection| panic!("it is not repeated"));
        assert_eq!((again.await.outcome, bank.paid().await), (Outcome::Duplicate, 0), "{sql}");
    }
}

/// A deadlock ends the whole transaction, and what a handler does after it that has not looked is rolled back too.
#[tokio::test]
async fn a_deadlock_that_a_handler_swallows_is_not_acked() {
    let bank = <MySql as Bank>::open().await;
    let gate = gate(&bank, Settings::new()).await;
    bank.execute(&format!("INSERT INTO {}.payments VALUES ('a', 0), ('b', 0)", bank.database)).await;
    let meet = Arc::new(tokio::sync::Barrier::new(2));
    let transfer = async |name: &str, from: &str, to: &str| {
        let meet = meet.clone();
        let add = |id: &str| format!("UPDATE payments SET amount = amount + 1 WHERE id = '{id}'");
        let (first, second) = (add(from), add(to));
        let transfer = handle::<MySql>(&gate, job(name), async move |on: &mut MySqlConnection| {
            <MySql as Bank>::execute(on, &first).await?;
            meet.wait().await;
            let _ = <MySql as Bank>::execute(on, &second).await;
            MySql::pay(on, name).await?;
            Ok(())
        });
        transfer.await
    };
    let (one, two) = tokio::join!(transfer("1", "a", "b"), transfer("2", "b", "a"));
    let outcomes = [one.outcome, two.outcome];
    assert!(outcomes.contains(&Outcome::Completed) && outcomes.contains(&Outcome::Failed), "{outcomes:?}");
    let sum = format!("SELECT CAST(sum(amount) AS SIGNED) FROM {}.payments", bank.database);
    assert_eq!((bank.number(&sum).await, bank.paid().await), (3, 3));
}

#[tokio::test]
async fn a_connection_lost_under_the_handler_costs_no_attempt() {
    let bank = <MySql as Bank>::open().await;
    let gate = gate(&bank, Settings::new()).await;
    let lost = handle::<MySql>(&gate, job("1"), async |on: &mut MySqlConnection| {
        MySql::pay(on, "1").await?;
        let id: u64 = sqlx::query_scalar("SELECT connection_id()").fetch_one(on).await?;
        bank.execute(&format!("KILL {id}")).await;
        Ok(())
    });
    let lost = lost.await;
    assert_eq!((lost.outcome, bank.paid().await), (Outcome::TransactionFailed, 0), "{lost:?}");
    let done = handle::<MySql>(&gate, job("1"), async |on: &mut MySqlConnection| {
        Ok(MySql::pay(on, "1").await.map(drop)?)
    });
    let done = done.await;
    assert_eq!((done.outcome, done.attempt, bank.paid().await), (Outcome::Completed, 1, 1));
}

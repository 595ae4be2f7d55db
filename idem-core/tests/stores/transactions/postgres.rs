//! Transactions on PostgreSQL.
//!
//! Run alone: `cargo test -p idem-core --features conformance,postgres --test stores -- transactions::postgres::`

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use idem_core::engine::{Commit, Gate};
use idem_core::store::Store;
use idem_core::{Outcome, Settings, Verdict};
use sqlx::{AssertSqlSafe, Executor as _, PgConnection};

use super::rules;
use super::together::{DONE, outcomes};
use crate::support::bank::{Bank, gate, gate_that_waits, handle, job};
use crate::support::batches::{Batches, Name, good};
use crate::support::postgres::Postgres;
use crate::support::proxy::{Line, Proxy};
use crate::support::records::until;

impl Bank for Postgres {
    type Connection = PgConnection;

    async fn open() -> Self {
        let bank = Self::new().await;
        bank.execute(&format!("CREATE TABLE {}.payments (id text PRIMARY KEY, amount bigint)", bank.schema))
            .await;
        bank
    }

    async fn store(&self, wait: Duration) -> Arc<dyn Store> {
        let url = format!("{}?options=-csearch_path%3D{}", self.url, self.schema);
        let store =
            idem_core::PostgresStore::builder(url).connections(2).transactions(2).response_timeout(wait);
        Arc::new(store.connect().await.unwrap())
    }

    async fn execute(on: &mut PgConnection, sql: &str) -> sqlx::Result<u64> {
        Ok(on.execute(AssertSqlSafe(sql.to_owned())).await?.rows_affected())
    }

    async fn paid(&self) -> i64 {
        self.number(&format!("SELECT count(*) FROM {}.payments", self.schema)).await
    }
}

super::transaction_tests!(Postgres);

#[tokio::test]
async fn an_open_transaction_holds_up_no_lease_of_another_key() {
    rules::an_open_transaction_holds_up_no_lease_of_another_key::<Postgres>().await;
}

#[tokio::test]
async fn claims_together_with_a_taken_key_are_a_conflict() {
    rules::claims_together_with_a_taken_key_are_a_conflict::<Postgres>().await;
}

#[tokio::test]
async fn a_wait_for_another_claim_is_bounded() {
    rules::a_wait_for_another_claim_is_bounded::<Postgres>().await;
}

/// The commit of a transaction in which a statement failed is a rollback, and no error.
#[tokio::test]
async fn a_statement_that_failed_unseen_is_not_acked() {
    let bank = Postgres::open().await;
    let gate = gate(&bank, Settings::new()).await;
    let swallowed = handle::<Postgres>(&gate, job("1"), async |on: &mut PgConnection| {
        Postgres::pay(on, "1").await?;
        assert!(Postgres::pay(on, "1").await.is_err(), "the payment is there");
        Ok(())
    });
    let swallowed = swallowed.await;
    assert_eq!((swallowed.outcome, swallowed.attempt, bank.paid().await), (Outcome::Failed, 1, 0));
    let done = handle::<Postgres>(&gate, job("1"), async |on: &mut PgConnection| {
        Ok(Postgres::pay(on, "1").await.map(drop)?)
    });
    assert_eq!((done.await.outcome, bank.paid().await), (Outcome::Completed, 1));
}

#[tokio::test]
async fn a_connection_lost_under_the_handler_costs_no_attempt() {
    let bank = Postgres::open().await;
    let gate = gate(&bank, Settings::new()).await;
    let lost = handle::<Postgres>(&gate, job("1"), async |on: &mut PgConnection| {
        Postgres::pay(on, "1").await?;
        let pid: i32 = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(on).await?;
        let kill = format!("SELECT count(*) FROM (SELECT pg_terminate_backend({pid}, 5000)) AS killed");
        assert_eq!(bank.number(&kill).await, 1);
        Ok(())
    });
    let lost = lost.await;
    assert_eq!((lost.outcome, bank.paid().await), (Outcome::TransactionFailed, 0), "{lost:?}");
    assert!(matches!(lost.verdict, Verdict::Retry(_)));
    let done = handle::<Postgres>(&gate, job("1"), async |on: &mut PgConnection| {
        Ok(Postgres::pay(on, "1").await.map(drop)?)
    });
    let done = done.await;
    assert_eq!((done.outcome, done.attempt, bank.paid().await), (Outcome::Completed, 1, 1));
}

#[tokio::test]
async fn a_statement_of_one_message_that_failed_unseen_is_not_acked_and_the_others_are_done() {
    for commit in [Commit::Together, Commit::Savepoints] {
        let batches = Batches::<Postgres>::open(commit, Settings::new()).await;
        let swallow = async |on: &mut PgConnection, names: &[Name]| {
            if names.contains(&"bad") {
                assert!(Postgres::pay(on, "bad").await.is_err(), "the payment is there");
            }
            good(names)
        };
        let decisions = batches.pay(&["1", "bad", "2"], swallow).await;
        assert_eq!(outcomes(&decisions), [DONE, (Outcome::Failed, 1), DONE], "{commit:?}");
        assert_eq!(batches.bank.paid().await, 2);
        // All together, then each alone; or each in its savepoint.
        let calls = if commit == Commit::Together { 4 } else { 3 };
        assert_eq!(batches.calls().len(), calls);
    }
}

#[tokio::test]
async fn a_connection_lost_under_a_batch_acks_nothing_and_costs_no_attempt() {
    for commit in [Commit::Together, Commit::Savepoints] {
        let batches = Batches::<Postgres>::open(commit, Settings::new()).await;
        let kill_it = async |on: &mut PgConnection, names: &[Name]| {
            let pid: i32 = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(on).await?;
            let kill = format!("SELECT count(*) FROM (SELECT pg_terminate_backend({pid}, 5000)) AS killed");
            assert_eq!(batches.bank.number(&kill).await, 1);
            good(names)
        };
        let lost = batches.pay(&["1", "2"], kill_it).await;
        assert_eq!(outcomes(&lost), [(Outcome::TransactionFailed, 1); 2], "{commit:?}");
        assert_eq!(batches.bank.paid().await, 0);
        let done = batches.pay(&["1", "2"], async |_: &mut PgConnection, names: &[Name]| good(names)).await;
        assert_eq!((outcomes(&done), batches.bank.paid().await), (vec![DONE; 2], 2), "{commit:?}");
    }
}

#[tokio::test]
async fn a_handler_waits_as_its_database_says_also_after_one_that_has_reset_all_settings() {
    let bank = Postgres::open().await;
    let gate = gate(&bank, Settings::new()).await;
    let mut seen = Vec::new();
    for name in ["1", "2"] {
        let done = handle::<Postgres>(&gate, job(name), async |on: &mut PgConnection| {
            seen.push(sqlx::query_scalar::<_, String>("SHOW lock_timeout").fetch_one(&mut *on).await?);
            on.execute("RESET ALL").await?;
            Ok(())
        });
        assert_eq!(done.await.outcome, Outcome::Completed);
    }
    assert_eq!(seen, ["0", "0"]);
}

/// Which connection of the server's a handler has.
async fn connection(gate: &Gate, name: &str) -> i32 {
    let mut pid = 0;
    let done = handle::<Postgres>(gate, job(name), async |on: &mut PgConnection| {
        pid = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(on).await?;
        Ok(())
    });
    assert_eq!(done.await.outcome, Outcome::Completed);
    pid
}

#[tokio::test]
async fn a_connection_is_kept_for_its_runtime_and_makes_room_when_that_has_ended() {
    let bank = Postgres::open().await;
    let gate = gate(&bank, Settings::new()).await;
    let mut connections = BTreeSet::new();
    for runtime in 0..4 {
        let gate = gate.clone();
        let on_its_own = move || {
            let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            tokio.block_on(async {
                [
                    connection(&gate, &format!("{runtime} 1")).await,
                    connection(&gate, &format!("{runtime} 2")).await,
                ]
            })
        };
        let [one, two] = tokio::task::spawn_blocking(on_its_own).await.unwrap();
        assert_eq!(one, two, "runtime {runtime} keeps its connection");
        assert!(connections.insert(one), "runtime {runtime} has its own connection");
    }
    let pids = connections.iter().map(i32::to_string).collect::<Vec<_>>().join(",");
    let alive = format!("SELECT count(*) FROM pg_stat_activity WHERE pid IN ({pids})");
    // The store allows for two.
    until("the connections of ended runtimes are closed", async || bank.number(&alive).await <= 2).await;
}

/// A server that is silent holds no message for ever, whatever has become of the commit.
#[tokio::test]
async fn a_commit_without_an_answer_ends_and_the_next_run_finds_out() {
    let bank = Postgres::open().await;
    let proxy = Proxy::before(&bank.url).await;
    let behind = Postgres { url: proxy.url(&bank.url), schema: bank.schema.clone() };
    let gate = gate_that_waits(&behind, Settings::new(), Duration::from_secs(1)).await;
    let lost = handle::<Postgres>(&gate, job("1"), async |on: &mut PgConnection| {
        Postgres::pay(on, "1").await?;
        proxy.set(Line::Mute);
        Ok(())
    });
    let lost = lost.await;
    assert_eq!(lost.outcome, Outcome::TransactionFailed, "{lost:?}");
    proxy.set(Line::Cut);
    proxy.set(Line::Open);
    let done = handle::<Postgres>(&gate, job("1"), async |on: &mut PgConnection| {
        Ok(Postgres::pay(on, "1").await.map(drop)?)
    });
    assert_eq!((done.await.verdict, bank.paid().await), (Verdict::Ack, 1));
}

#[tokio::test]
async fn a_deadlock_costs_no_attempt() {
    let bank = Postgres::open().await;
    let gate = gate(&bank, Settings::new()).await;
    bank.execute(&format!("INSERT INTO {}.payments VALUES ('a', 0), ('b', 0)", bank.schema)).await;
    let meet = Arc::new(tokio::sync::Barrier::new(2));
    let transfer = async |name: &str, from: &str, to: &str| {
        let meet = meet.clone();
        let (first, second) =
            [from, to].map(|id| format!("UPDATE payments SET amount = amount + 1 WHERE id = '{id}'")).into();
        let transfer = handle::<Postgres>(&gate, job(name), async move |on: &mut PgConnection| {
            <Postgres as Bank>::execute(on, &first).await?;
            meet.wait().await;
            <Postgres as Bank>::execute(on, &second).await?;
            Ok(())
        });
        transfer.await
    };
    let (one, two) = tokio::join!(transfer("1", "a", "b"), transfer("2", "b", "a"));
    let outcomes = [one.outcome, two.outcome];
    assert!(
        outcomes.contains(&Outcome::Completed) && outcomes.contains(&Outcome::TransactionFailed),
        "{outcomes:?}"
    );
    assert_eq!(bank.number(&format!("SELECT sum(amount)::bigint FROM {}.payments", bank.schema)).await, 2);
}

#[tokio::test]
async fn a_forgotten_savepoint_is_committed_too() {
    use sqlx::Connection as _;
    let bank = Postgres::open().await;
    let gate = gate(&bank, Settings::new()).await;
    let done = handle::<Postgres>(&gate, job("1"), async |on: &mut PgConnection| {
        let mut nested = on.begin().await?;
        Postgres::pay(&mut nested, "1").await?;
        std::mem::forget(nested);
        Ok(())
    });
    assert_eq!((done.await.outcome, bank.paid().await), (Outcome::Completed, 1));
    let next = handle::<Postgres>(&gate, job("2"), async |on: &mut PgConnection| {
        Ok(Postgres::pay(on, "2").await.map(drop)?)
    });
    assert_eq!((next.await.outcome, bank.paid().await), (Outcome::Completed, 2));
}

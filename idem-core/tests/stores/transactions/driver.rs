//! Transactions on PostgreSQL over a driver that is not the store's own.
//!
//! Run alone: `cargo test -p idem-core --features conformance,postgres --test stores -- transactions::driver::`

use std::sync::Arc;
use std::time::Duration;

use idem_core::engine::{Commit, Engine};
use idem_core::store::{Answer, Claim, ClaimRequest, CompleteRequest, DriverResult, PostgresDriver, Store};
use idem_core::{Fingerprint, Outcome, PostgresStore, Settings, StoreError, Token};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, Executor as _, PgPool, Row as _};

use super::rules;
use crate::support::bank::{Bank, gate, handle, job};
use crate::support::postgres::Postgres;

/// As another library would be: it counts what it has begun, and commits the innermost.
struct Stranger {
    pool: PgPool,
    begin: &'static str,
    is_guarded: bool,
}

/// How many transactions are open on a connection, one in another.
pub(super) struct Depth {
    connection: PoolConnection<sqlx::Postgres>,
    depth: u32,
}

impl Drop for Depth {
    fn drop(&mut self) {
        if self.depth > 0 {
            self.connection.close_on_drop();
        }
    }
}

impl Depth {
    async fn savepoint(&mut self) -> sqlx::Result<()> {
        self.connection.execute(AssertSqlSafe(format!("SAVEPOINT s{}", self.depth))).await?;
        self.depth += 1;
        Ok(())
    }

    async fn end(&mut self, outer: &'static str, inner: &str) -> sqlx::Result<()> {
        self.depth = self.depth.saturating_sub(1);
        let sql = if self.depth == 0 { outer.to_owned() } else { format!("{inner} s{}", self.depth) };
        self.connection.execute(AssertSqlSafe(sql)).await.map(drop)
    }
}

impl PostgresDriver for Stranger {
    type Transaction = Depth;
    type Connection = Depth;

    fn max_open(&self) -> usize {
        2
    }

    async fn begin(&self) -> DriverResult<Depth> {
        let mut connection = self.pool.acquire().await?;
        if self.is_guarded {
            connection.execute(Self::READ_ONLY_OUTSIDE).await?;
        }
        connection.execute(self.begin).await?;
        Ok(Depth { connection, depth: 1 })
    }

    fn connection(transaction: &mut Depth) -> &mut Depth {
        transaction
    }

    async fn query(
        on: &mut Depth,
        statement: &str,
        parameters: &[Option<&[u8]>],
    ) -> DriverResult<Option<Vec<u8>>> {
        let query = sqlx::query(AssertSqlSafe(statement.to_owned()));
        let query = parameters.iter().fold(query, |query, parameter| query.bind(*parameter));
        let row = query.fetch_optional(&mut *on.connection).await?;
        Ok(row.map(|row| row.try_get("value")).transpose()?)
    }

    async fn commit(on: &mut Depth) -> DriverResult<()> {
        Ok(on.end("COMMIT", "RELEASE SAVEPOINT").await?)
    }

    async fn rollback(on: &mut Depth) -> DriverResult<()> {
        Ok(on.end("ROLLBACK", "ROLLBACK TO SAVEPOINT").await?)
    }
}

/// The same bank, whose handlers have the stranger's connections.
pub(super) struct Foreign(Postgres);

impl Foreign {
    fn pool(&self) -> PgPool {
        let options: PgConnectOptions = self.0.url.parse().unwrap();
        PgPoolOptions::new().connect_lazy_with(options.options([("search_path", &*self.0.schema)]))
    }

    async fn connect(&self, stranger: Stranger, wait: Duration) -> Result<Arc<dyn Store>, StoreError> {
        let url = format!("{}?options=-csearch_path%3D{}", self.0.url, self.0.schema);
        let builder = PostgresStore::builder(url).connections(2).response_timeout(wait).driver(stranger);
        Ok(Arc::new(builder.connect().await?))
    }
}

impl Bank for Foreign {
    type Connection = Depth;

    async fn open() -> Self {
        Self(<Postgres as Bank>::open().await)
    }

    async fn store(&self, wait: Duration) -> Arc<dyn Store> {
        self.connect(Stranger { pool: self.pool(), begin: "BEGIN", is_guarded: true }, wait).await.unwrap()
    }

    async fn execute(on: &mut Depth, sql: &str) -> sqlx::Result<u64> {
        <Postgres as Bank>::execute(&mut on.connection, sql).await
    }

    async fn paid(&self) -> i64 {
        self.0.paid().await
    }
}

super::transaction_tests!(Foreign);

#[tokio::test]
async fn claims_together_with_a_taken_key_are_a_conflict() {
    rules::claims_together_with_a_taken_key_are_a_conflict::<Foreign>().await;
}

#[tokio::test]
async fn a_wait_for_another_claim_is_bounded() {
    rules::a_wait_for_another_claim_is_bounded::<Foreign>().await;
}

#[tokio::test]
async fn a_handler_waits_for_locks_as_its_driver_says() {
    let bank = <Foreign as Bank>::open().await;
    let stranger =
        Stranger { pool: bank.pool(), begin: "BEGIN; SET LOCAL lock_timeout = '7s'", is_guarded: true };
    let store = bank.connect(stranger, Duration::from_secs(2)).await.unwrap();
    let settings = Settings::new().resolve().unwrap();
    let gate = Engine::new(store).transactional_gate("pay", settings, Commit::Each, None).unwrap();
    let mut seen = String::new();
    let done = handle::<Foreign>(&gate, job("1"), async |on: &mut Depth| {
        seen = sqlx::query_scalar("SHOW lock_timeout").fetch_one(&mut *on.connection).await?;
        Ok(())
    });
    assert_eq!(done.await.outcome, Outcome::Completed);
    assert_eq!(seen, "7s");
}

async fn pay(gate: &idem_core::Gate) -> idem_core::Decision {
    handle::<Foreign>(gate, job("1"), async |on: &mut Depth| Ok(Foreign::pay(on, "1").await.map(drop)?)).await
}

/// A library that commits its innermost savepoint alone would have the message acked and the effect lost.
#[tokio::test]
async fn what_a_driver_leaves_open_is_committed_too() {
    let bank = <Foreign as Bank>::open().await;
    let gate = gate(&bank, Settings::new()).await;
    let nested = handle::<Foreign>(&gate, job("2"), async |on: &mut Depth| {
        Foreign::pay(on, "a").await?;
        on.savepoint().await?;
        on.savepoint().await?;
        Ok(Foreign::pay(on, "b").await.map(drop)?)
    });
    assert_eq!((nested.await.outcome, bank.paid().await), (Outcome::Completed, 2));
    let failed = handle::<Foreign>(&gate, job("1"), async |on: &mut Depth| {
        on.savepoint().await?;
        Foreign::pay(on, "c").await?;
        Err("no".into())
    });
    assert_eq!((failed.await.outcome, bank.paid().await), (Outcome::Failed, 2));
    assert_eq!((pay(&gate).await.outcome, bank.paid().await), (Outcome::Completed, 3));
}

#[tokio::test]
async fn a_statement_that_failed_unseen_is_not_acked() {
    let bank = <Foreign as Bank>::open().await;
    let gate = gate(&bank, Settings::new()).await;
    let swallowed = handle::<Foreign>(&gate, job("1"), async |on: &mut Depth| {
        Foreign::pay(on, "1").await?;
        assert!(Foreign::pay(on, "1").await.is_err(), "the payment is there");
        Ok(())
    });
    let swallowed = swallowed.await;
    assert_eq!((swallowed.outcome, swallowed.attempt, bank.paid().await), (Outcome::Failed, 1, 0));
    let done = pay(&gate).await;
    assert_eq!((done.outcome, done.attempt, bank.paid().await), (Outcome::Completed, 2, 1));
}

/// A constraint that is looked at only by the commit is the handler's mistake, and no lost connection.
#[tokio::test]
async fn a_commit_that_the_server_refuses_is_counted() {
    let bank = <Foreign as Bank>::open().await;
    let gate = gate(&bank, Settings::new()).await;
    let table = format!("{}.owed", bank.0.schema);
    let unique = "CONSTRAINT once UNIQUE (id) DEFERRABLE INITIALLY DEFERRED";
    bank.0.execute(&format!("CREATE TABLE {table} (id text, {unique})")).await;
    let refused = handle::<Foreign>(&gate, job("1"), async |on: &mut Depth| {
        Foreign::pay(on, "1").await?;
        Foreign::execute(on, "INSERT INTO owed VALUES ('1'), ('1')").await?;
        Ok(())
    });
    let refused = refused.await;
    assert_eq!((refused.outcome, refused.attempt, bank.paid().await), (Outcome::Failed, 1, 0), "{refused:?}");
    let done = pay(&gate).await;
    assert_eq!((done.outcome, done.attempt, bank.paid().await), (Outcome::Completed, 2, 1));
}

#[tokio::test]
async fn a_connection_lost_under_the_handler_costs_no_attempt() {
    let bank = <Foreign as Bank>::open().await;
    let gate = gate(&bank, Settings::new()).await;
    let lost = handle::<Foreign>(&gate, job("1"), async |on: &mut Depth| {
        Foreign::pay(on, "1").await?;
        let pid: i32 = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut *on.connection).await?;
        let kill = format!("SELECT count(*) FROM (SELECT pg_terminate_backend({pid}, 5000)) AS killed");
        assert_eq!(bank.0.number(&kill).await, 1);
        Ok(())
    });
    let lost = lost.await;
    assert_eq!((lost.outcome, bank.paid().await), (Outcome::TransactionFailed, 0), "{lost:?}");
    let done = pay(&gate).await;
    assert_eq!((done.outcome, done.attempt, bank.paid().await), (Outcome::Completed, 1, 1));
}

#[tokio::test]
async fn a_driver_that_leads_elsewhere_or_begins_nothing_is_told_at_the_start() {
    let (bank, other) = (<Foreign as Bank>::open().await, <Foreign as Bank>::open().await);
    let empty = Foreign(Postgres::empty().await);
    let wait = Duration::from_secs(20);
    let told = async |pool: PgPool, begin: &'static str| {
        let is_guarded = begin != "BEGIN READ WRITE";
        let refused =
            bank.connect(Stranger { pool, begin, is_guarded }, wait).await.err().expect("a refusal");
        assert!(refused.is_config(), "{refused:?}");
        refused.to_string()
    };
    assert!(told(other.pool(), "BEGIN").await.contains("leads to other tables than the store's"));
    assert!(told(empty.pool(), "BEGIN").await.contains("cannot claim in idem's tables"));
    assert!(
        told(bank.pool(), "BEGIN READ WRITE")
            .await
            .contains("does not run `PostgresDriver::READ_ONLY_OUTSIDE`")
    );
    assert!(told(bank.pool(), "SELECT 1").await.contains("begins no transaction in `begin`"));
    assert_eq!(bank.0.number("SELECT count(*) FROM {table}").await, 0, "nothing is left of the trial");
}

#[tokio::test]
async fn what_a_record_holds_comes_through_a_driver_whole() {
    let bank = <Foreign as Bank>::open().await;
    let transactions = bank.store(Duration::from_secs(20)).await.transactions().unwrap();
    let (fingerprint, reply) = (Some(Fingerprint::of(b"payload")), Some(vec![0_u8, 255, b'\''].into()));
    let hour = Duration::from_hours(1);
    let claim = |fingerprint| ClaimRequest {
        fingerprint,
        ..ClaimRequest::new(job("1").key, Token::random(), hour, hour, idem_core::MemberId::random())
    };
    let first = claim(fingerprint);
    let mut open = transactions.begin().await.unwrap();
    let Claim::Claimed { fence, attempt: 1, after: None } = open.claim(&first).await.unwrap() else {
        panic!("nobody else has it")
    };
    let ClaimRequest { key, token, retention, .. } = first;
    let complete = CompleteRequest {
        fingerprint,
        reply: reply.clone(),
        ..CompleteRequest::new(key, token, fence, retention, idem_core::MemberId::random())
    };
    assert_eq!(open.complete(&complete).await.unwrap(), Answer::Done);
    open.commit().await.unwrap();
    let mut again = transactions.begin().await.unwrap();
    assert_eq!(again.claim(&claim(None)).await.unwrap(), Claim::Completed { fingerprint, reply });
    again.rollback().await;
}

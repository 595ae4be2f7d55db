//! The cases of all guards, on the database of the module above.
//!
//! Run alone: `cargo test -p idem-core --all-features --test stores -- cases::`

use idem_core::sql::guard::{Error, Guarded};
use sqlx::{AssertSqlSafe, Pool, Row, Transaction};
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::super::{Isolation, fresh_name};
use super::{ASKS_FOR_THE_INDEX, BYTES, Db, ISOLATIONS, LOCKS_ROWS, begin, pool};

mod advance;
mod insert;
mod lock;
mod names;
mod version;

/// How many deliver the same message at one time.
const DUPLICATES: usize = 6;

/// A table of one test's own, on a server that the tests share.
#[derive(Clone)]
struct Table {
    pool: Pool<Db>,
    name: String,
    _folder: std::sync::Arc<Option<TempDir>>,
}

impl Table {
    async fn new(columns: &str) -> Self {
        Self::isolated(columns, Isolation::Default).await
    }

    async fn isolated(columns: &str, isolation: Isolation) -> Self {
        let (pool, folder) = pool(isolation).await;
        let table = Self { pool, name: fresh_name(), _folder: folder.into() };
        table.run(&format!("CREATE TABLE {{t}} ({columns})")).await;
        table
    }

    /// An order in the state PAID, with version 3.
    async fn order(isolation: Isolation) -> Self {
        let columns = "order_id BIGINT PRIMARY KEY, state VARCHAR(32), version BIGINT, note VARCHAR(32)";
        let table = Self::isolated(columns, isolation).await;
        table.run("INSERT INTO {t} VALUES (7, 'PAID', 3, NULL), (8, 'NEW', 1, NULL)").await;
        table
    }

    /// Runs a statement in which `{t}` is the table.
    async fn run(&self, sql: &str) {
        sqlx::query(AssertSqlSafe(sql.replace("{t}", &self.name))).execute(&self.pool).await.unwrap();
    }

    /// One number.
    async fn number(&self, sql: &str) -> i64 {
        let row =
            sqlx::query(AssertSqlSafe(sql.replace("{t}", &self.name))).fetch_one(&self.pool).await.unwrap();
        row.get(0)
    }

    /// One text.
    async fn text(&self, sql: &str) -> Option<String> {
        let row =
            sqlx::query(AssertSqlSafe(sql.replace("{t}", &self.name))).fetch_one(&self.pool).await.unwrap();
        row.get(0)
    }

    async fn drop(self) {
        self.run("DROP TABLE {t}").await;
        self.pool.close().await;
    }

    /// Does the work in a transaction for each of many duplicates at one time, again where a message would come again.
    async fn deliver<W, F>(&self, work: W) -> Vec<Guarded>
    where
        W: Fn(Transaction<'static, Db>, String) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Worked> + Send,
    {
        let mut duplicates = JoinSet::new();
        for _ in 0..DUPLICATES {
            let (table, work) = (self.clone(), work.clone());
            duplicates.spawn(async move {
                loop {
                    let (tx, answer) = work(begin(&table.pool).await, table.name.clone()).await;
                    match answer {
                        // In SERIALIZABLE a commit may fail as a statement does.
                        Ok(answer) => {
                            if tx.commit().await.is_ok() {
                                return answer;
                            }
                        }
                        Err(error) => assert!(error.is_retryable(), "{error}"),
                    }
                }
            });
        }
        duplicates.join_all().await
    }
}

/// A handler's transaction, and the result of its work.
type Worked = (Transaction<'static, Db>, Result<Guarded, Error>);

/// How many of the answers are this one.
fn count(answers: &[Guarded], answer: &Guarded) -> usize {
    answers.iter().filter(|one| *one == answer).count()
}

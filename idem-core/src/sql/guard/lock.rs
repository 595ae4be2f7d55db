//! Pessimistic locking.

use std::marker::PhantomData;
use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::Database;
use tokio::time::Instant;

use super::answer::{Conflict, Guarded};
use super::error::Error;
use super::row::GuardedRow;
use super::stage::{NeedsId, Ready};
use super::statement::{Bind, BoundColumn, GuardSession, GuardStatement, says_yes};
use crate::clock::Later as _;
use crate::sql::dialect::{RowLock, StatementErrorMeaning, Texts};
use crate::sql::{Dialect, InTransaction, Target};

/// How long [`lock_row`] waits for a row by default.
pub const DEFAULT_WAIT: Duration = Duration::from_secs(5);

/// Between two looks at a locked row: doubled from the one to the other.
const PAUSES: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(50));

#[doc = include_str!("docs/lock.md")]
pub fn lock_row<'q, DB: Dialect>(table: &str) -> LockRow<'q, DB, NeedsId> {
    LockRow { row: GuardedRow::of(table), unless: Vec::new(), wait: DEFAULT_WAIT, stage: PhantomData }
}

/// The guard that [`lock_row`] makes.
#[must_use = "a guard does nothing before `apply(..).await`"]
pub struct LockRow<'q, DB: Database, Stage = Ready> {
    row: GuardedRow<'q, DB>,
    unless: Vec<BoundColumn<'q, DB>>,
    wait: Duration,
    stage: PhantomData<fn() -> Stage>,
}

impl<'q, DB: Dialect, Stage> LockRow<'q, DB, Stage> {
    /// The column that tells the row apart, and its value. Where it takes several columns, call it for each.
    pub fn id<T: Bind<'q, DB>>(mut self, column: &str, value: T) -> LockRow<'q, DB> {
        self.row.id(column, value);
        let Self { row, unless, wait, .. } = self;
        LockRow { row, unless, wait, stage: PhantomData }
    }
}

impl<'q, DB: Dialect> LockRow<'q, DB> {
    /// A column and the value that it has once the work is done: the answer is `AlreadyApplied` then. With several, all of
    /// them must hold.
    pub fn unless<T: Bind<'q, DB>>(mut self, column: &str, value: T) -> Self {
        let column = self.row.column(column, value);
        self.unless.push(column);
        self
    }

    /// How long to wait for whoever holds the lock; [`DEFAULT_WAIT`] if this is not called, and zero is not at all. On SQLite
    /// each try waits for the connection's `busy_timeout` in addition.
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    /// Locks the row until the transaction ends.
    ///
    /// # Errors
    /// A refused name, a connection without a transaction, or a failure of the database.
    ///
    /// # Cancel safety
    /// A dropped future may have locked the row, until the transaction ends.
    pub fn apply<'c, T>(self, target: T) -> BoxFuture<'c, Result<Guarded, Error>>
    where
        T: InTransaction<'c, Database = DB> + 'c,
        'q: 'c,
    {
        // Boxed: one error for a wrong target instead of three, and `Send` is proved here.
        Box::pin(self.run(target))
    }

    async fn run<'c, T>(mut self, target: T) -> Result<Guarded, Error>
    where
        T: Target<'c, Database = DB>,
    {
        let mut session = self.row.open(target).await?;
        session.needs_transaction()?;
        Ok(match self.poll(&mut session).await? {
            Ok(texts) if says_yes(&texts, 0) => Guarded::AlreadyApplied,
            Ok(_) => Guarded::Applied,
            Err(conflict) => Guarded::Conflict(conflict),
        })
    }

    /// Tries until the row is free. To wait in the database would take a time-out of the session's, which outlives a future
    /// that is dropped, and which ends PostgreSQL's transaction when it runs out.
    async fn poll(&mut self, session: &mut GuardSession<'_, DB>) -> Result<LockResult, Error> {
        let deadline = Instant::now().later(self.wait);
        let (mut pause, longest) = PAUSES;
        loop {
            let found = self.attempt(session).await?;
            let now = Instant::now();
            if !matches!(found, Err(Conflict::Locked)) || now >= deadline {
                return Ok(found);
            }
            tokio::time::sleep_until(now.later(pause).min(deadline)).await;
            pause = pause.saturating_mul(2).min(longest);
        }
    }

    async fn attempt(&mut self, session: &mut GuardSession<'_, DB>) -> Result<LockResult, Error> {
        let found = match DB::LOCK {
            RowLock::Skips(clause) => {
                let found = session.fetch(self.look().sql(&[clause])).await;
                if matches!(found, Ok(None)) && session.fetch(self.look()).await?.is_some() {
                    return Ok(Err(Conflict::Locked));
                }
                found
            }
            RowLock::Refuses(clause) => session.fetch(self.look().sql(&[clause])).await,
            RowLock::Whole => match session.changes_one(self.write_nothing()).await {
                Ok(_) => session.fetch(self.look()).await,
                Err(error) => Err(error),
            },
        };
        match found {
            Ok(found) => Ok(found.ok_or(Conflict::NoRow)),
            Err(error) if error.meaning() == StatementErrorMeaning::Locked => Ok(Err(Conflict::Locked)),
            Err(error) => Err(error),
        }
    }

    /// A statement that changes no row, and takes the lock of a database that has but one.
    fn write_nothing(&self) -> GuardStatement<DB> {
        let id = &self.row.ids[0].name;
        self.row.update().sql(&[id, " = ", id, " WHERE 0"])
    }

    /// Whether the work is done.
    fn look(&self) -> GuardStatement<DB> {
        let select = GuardStatement::new(&["SELECT "]);
        let select = match self.unless.as_slice() {
            [] => select.sql(&["'no'"]),
            unless => select.asks(|condition| condition.pairs(unless, DB::SAME, " AND ")),
        };
        self.row.from(select)
    }
}

/// The locked row, or why it is not.
type LockResult = Result<Texts, Conflict>;

//! Natural keys.

use std::marker::PhantomData;

use futures_util::future::BoxFuture;
use sqlx::Database;

use super::answer::{Conflict, Guarded};
use super::error::Error;
use super::row::GuardedRow;
use super::stage::{NeedsId, Ready};
use super::statement::{ATTEMPTS, Bind, BoundColumn, GuardSession, GuardStatement, says_yes};
use crate::sql::dialect::StatementErrorMeaning;
use crate::sql::{Dialect, Target};

#[doc = include_str!("docs/insert.md")]
pub fn insert_once<'q, DB: Dialect>(table: &str) -> InsertOnce<'q, DB, NeedsId> {
    InsertOnce {
        row: GuardedRow::of(table),
        sets: Vec::new(),
        stamps: Vec::new(),
        otherwise: MismatchAction::Conflict,
        stage: PhantomData,
    }
}

/// The guard that [`insert_once`] makes.
#[must_use = "a guard does nothing before `apply(..).await`"]
pub struct InsertOnce<'q, DB: Database, Stage = Ready> {
    /// Its `ids` are the natural key.
    row: GuardedRow<'q, DB>,
    sets: Vec<BoundColumn<'q, DB>>,
    stamps: Vec<BoundColumn<'q, DB>>,
    otherwise: MismatchAction,
    stage: PhantomData<fn() -> Stage>,
}

/// The treatment of a row that is there with other values.
#[derive(Clone, Copy, PartialEq, Eq)]
enum MismatchAction {
    Conflict,
    Update,
}

impl<'q, DB: Dialect, Stage> InsertOnce<'q, DB, Stage> {
    /// A column of the natural key, and its value. The columns of the key have a unique index together, and are never NULL:
    /// databases take two NULLs for different keys.
    pub fn key<T: Bind<'q, DB>>(mut self, column: &str, value: T) -> InsertOnce<'q, DB> {
        self.row.id(column, value);
        let Self { row, sets, stamps, otherwise, .. } = self;
        InsertOnce { row, sets, stamps, otherwise, stage: PhantomData }
    }
}

impl<'q, DB: Dialect> InsertOnce<'q, DB> {
    /// Another column, which a duplicate must have with the same value.
    ///
    /// The database compares what it has kept. A column that keeps less than it is given (a time rounded to seconds, a
    /// `REAL` from an `f64`), or whose type knows no equality (PostgreSQL's `json`), is a [`stamp`](Self::stamp).
    pub fn set<T: Bind<'q, DB>>(mut self, column: &str, value: T) -> Self {
        let column = self.row.column(column, value);
        self.sets.push(column);
        self
    }

    /// Another column, which may differ between duplicates: the time, the message's id.
    pub fn stamp<T: Bind<'q, DB>>(mut self, column: &str, value: T) -> Self {
        let column = self.row.column(column, value);
        self.stamps.push(column);
        self
    }

    /// Upsert: a row that is there with other values takes these, instead of being a conflict. What comes last stays, so
    /// a message that was overtaken undoes the later one; [`bump_version`](super::bump_version) keeps order.
    pub fn or_update(mut self) -> Self {
        self.otherwise = MismatchAction::Update;
        self
    }

    /// Inserts the row, on a pool, a connection or a transaction.
    ///
    /// # Errors
    /// A refused name, a missing unique index, or a failure of the database.
    ///
    /// # Cancel safety
    /// A dropped future may have inserted the row, as any statement; in a transaction that rolls back it has not.
    pub fn apply<'c, T>(self, target: T) -> BoxFuture<'c, Result<Guarded, Error>>
    where
        T: Target<'c, Database = DB> + 'c,
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
        let mut attempts = 0;
        loop {
            attempts += 1;
            let refusal = match session.changes_one(self.insert()).await {
                Ok(true) => return Ok(Guarded::Applied),
                Ok(false) => None,
                Err(error) if !DB::ON_CONFLICT && error.meaning() == StatementErrorMeaning::Duplicate => {
                    Some(error)
                }
                Err(error) => return Err(error),
            };
            match (self.settle(&mut session).await?, refusal) {
                (Some(answer), _) => return Ok(answer),
                // Another unique index than the key's.
                (None, Some(refusal)) if attempts == ATTEMPTS => return Err(refusal),
                (None, None) if attempts == ATTEMPTS => return Ok(Guarded::Conflict(Conflict::NoRow)),
                // It was deleted between the two statements.
                (None, _) => {}
            }
        }
    }

    /// The answer for a row that is there; none if it is gone.
    async fn settle(&mut self, session: &mut GuardSession<'_, DB>) -> Result<Option<Guarded>, Error> {
        if self.otherwise == MismatchAction::Update && !self.sets.is_empty() {
            if DB::ON_CONFLICT {
                return Ok(Some(Guarded::AlreadyApplied));
            }
            if session.changes_one(self.update()).await? {
                return Ok(Some(Guarded::Applied));
            }
        }
        let found = session.fetch(self.look()).await?;
        Ok(found.map(|texts| {
            if says_yes(&texts, 0) {
                Guarded::AlreadyApplied
            } else {
                Guarded::Conflict(Conflict::OtherValues)
            }
        }))
    }

    fn insert(&self) -> GuardStatement<DB> {
        let columns = || self.row.ids.iter().chain(&self.sets).chain(&self.stamps);
        let names: Vec<&str> = columns().map(|column| column.name.as_str()).collect();
        let insert = GuardStatement::new(&["INSERT INTO ", &self.row.table]);
        let insert = if DB::ON_CONFLICT { insert.sql(&[" AS held"]) } else { insert };
        let insert = insert.sql(&[" (", &names.join(", "), ") VALUES ("]).values(columns()).sql(&[")"]);
        if DB::ON_CONFLICT { self.on_conflict(insert) } else { insert }
    }

    fn on_conflict(&self, insert: GuardStatement<DB>) -> GuardStatement<DB> {
        let insert = insert.sql(&[" ON CONFLICT (", &list(&self.row.ids, str::to_owned, ", "), ")"]);
        if self.otherwise == MismatchAction::Conflict || self.sets.is_empty() {
            return insert.sql(&[" DO NOTHING"]);
        }
        let taken =
            list(self.sets.iter().chain(&self.stamps), |name| format!("{name} = excluded.{name}"), ", ");
        let same = list(&self.sets, |name| format!("held.{name}{}excluded.{name}", DB::SAME), " AND ");
        insert.sql(&[" DO UPDATE SET ", &taken, " WHERE NOT (", &same, ")"])
    }

    fn update(&self) -> GuardStatement<DB> {
        let update = self.row.update().pairs(self.sets.iter().chain(&self.stamps), " = ", ", ");
        self.row.filter(update).sql(&[" AND NOT ("]).pairs(&self.sets, DB::SAME, " AND ").sql(&[")"])
    }

    fn look(&self) -> GuardStatement<DB> {
        let select = GuardStatement::new(&["SELECT "]);
        let select = match self.sets.as_slice() {
            [] => select.sql(&["'yes'"]),
            sets => select.asks(|condition| condition.pairs(sets, DB::SAME, " AND ")),
        };
        self.row.from(select).sql(&[DB::FRESH_SHARED])
    }
}

/// The columns' names, each in its sentence.
fn list<'a, 'q: 'a, DB: Database>(
    columns: impl IntoIterator<Item = &'a BoundColumn<'q, DB>>,
    sentence: impl Fn(&str) -> String,
    between: &str,
) -> String {
    columns.into_iter().map(|column| sentence(&column.name)).collect::<Vec<_>>().join(between)
}

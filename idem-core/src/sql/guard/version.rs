//! Optimistic locking.

use std::marker::PhantomData;

use futures_util::future::BoxFuture;
use sqlx::Database;

use super::answer::{Conflict, Guarded};
use super::error::Error;
use super::row::GuardedRow;
use super::stage::{NeedsId, NeedsVersion, Ready, TakesId};
use super::statement::{ATTEMPTS, Bind, BoundColumn, GuardStatement};
use crate::sql::dialect::Texts;
use crate::sql::{Dialect, Target};

#[doc = include_str!("docs/version.md")]
pub fn bump_version<'q, DB: Dialect>(table: &str) -> BumpVersion<'q, DB, NeedsId> {
    let mut row = GuardedRow::of(table);
    let version = row.name("version");
    BumpVersion { row, version, from: 0, carried: None, sets: Vec::new(), stage: PhantomData }
}

/// The guard that [`bump_version`] makes.
#[must_use = "a guard does nothing before `apply(..).await`"]
pub struct BumpVersion<'q, DB: Database, Stage = Ready> {
    row: GuardedRow<'q, DB>,
    /// The quoted name of the version's column.
    version: String,
    /// The version that the row must have.
    from: i64,
    /// The version that the message carries, if it does.
    carried: Option<i64>,
    sets: Vec<BoundColumn<'q, DB>>,
    stage: PhantomData<fn() -> Stage>,
}

impl<'q, DB: Dialect, Stage: TakesId> BumpVersion<'q, DB, Stage> {
    /// The column that tells the row apart, and its value. Where it takes several columns, call it for each.
    pub fn id<T: Bind<'q, DB>>(mut self, column: &str, value: T) -> BumpVersion<'q, DB, NeedsVersion> {
        self.row.id(column, value);
        self.at()
    }

    /// The column of the version, if it is not `version`: an integer.
    pub fn column(mut self, column: &str) -> Self {
        self.version = self.row.name(column);
        self
    }
}

impl<'q, DB: Dialect> BumpVersion<'q, DB, NeedsVersion> {
    /// The version that was read together with what the change is made from.
    ///
    /// Any other version is a conflict: somebody else was quicker, or this is a duplicate, and the version does not tell
    /// which. Read again.
    pub fn read(mut self, version: i64) -> BumpVersion<'q, DB> {
        self.from = version;
        self.at()
    }

    /// The version that the message gives the row, counted by whoever sent it: the row must have the one before.
    ///
    /// A row that has this version or a later one has had the message: `AlreadyApplied`. One that has an earlier version
    /// lacks another message, which is still to come.
    pub fn carried(mut self, version: i64) -> BumpVersion<'q, DB> {
        self.from = version.saturating_sub(1);
        self.carried = Some(version);
        self.at()
    }
}

impl<'q, DB: Dialect> BumpVersion<'q, DB> {
    /// A column that changes with the version.
    pub fn set<T: Bind<'q, DB>>(mut self, column: &str, value: T) -> Self {
        let column = self.row.column(column, value);
        self.sets.push(column);
        self
    }

    /// Changes the row, on a pool, a connection or a transaction.
    ///
    /// # Errors
    /// A refused name, more than one such row, or a failure of the database.
    ///
    /// # Cancel safety
    /// A dropped future may have changed the row, as any statement; in a transaction that rolls back it has not.
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
            if session.changes_one(self.update()).await? {
                return Ok(Guarded::Applied);
            }
            let found = session.fetch(self.look()).await?;
            let answer = self.meaning(found);
            // The version before this one came between the two statements.
            let came = Guarded::Conflict(Conflict::OtherVersion(Some(self.from)));
            if answer != came || attempts == ATTEMPTS {
                return Ok(answer);
            }
        }
    }

    fn update(&self) -> GuardStatement<DB> {
        let update = match self.carried {
            Some(version) => self.row.update().pair(&self.numbered(version), " = "),
            None => self.row.update().sql(&[&self.version, " = ", &self.version, " + 1"]),
        };
        let update = self.sets.iter().fold(update, |update, column| update.sql(&[", "]).pair(column, " = "));
        self.row.filter(update).sql(&[" AND "]).pair(&self.numbered(self.from), " = ")
    }

    fn numbered(&self, version: i64) -> BoundColumn<'q, DB> {
        BoundColumn::integer(self.version.clone(), version)
    }

    fn look(&self) -> GuardStatement<DB> {
        let select = GuardStatement::new(&["SELECT CAST(", &self.version, " AS ", DB::TEXT, ")"]);
        self.row.from(select).sql(&[DB::FRESH])
    }

    fn meaning(&self, found: Option<Texts>) -> Guarded {
        let Some(texts) = found else { return Guarded::Conflict(Conflict::NoRow) };
        let found = texts.into_iter().next().flatten().and_then(|text| text.parse().ok());
        match (self.carried, found) {
            (Some(carried), Some(found)) if found >= carried => Guarded::AlreadyApplied,
            _ => Guarded::Conflict(Conflict::OtherVersion(found)),
        }
    }
}

impl<'q, DB: Dialect, Stage> BumpVersion<'q, DB, Stage> {
    fn at<Next>(self) -> BumpVersion<'q, DB, Next> {
        let Self { row, version, from, carried, sets, .. } = self;
        BumpVersion { row, version, from, carried, sets, stage: PhantomData }
    }
}

//! A state machine's step.

use std::marker::PhantomData;

use futures_util::future::BoxFuture;
use sqlx::Database;

use super::answer::{Conflict, Guarded};
use super::error::Error;
use super::row::GuardedRow;
use super::stage::{NeedsFrom, NeedsId, NeedsTo, Ready, TakesId};
use super::statement::{ATTEMPTS, Bind, BoundColumn, GuardStatement, says_yes};
use crate::sql::dialect::Texts;
use crate::sql::{Dialect, Target};

/// Moves a row from one state to the next: `UPDATE .. SET state = to WHERE id = .. AND state = from`.
///
/// | it says | when |
/// |---|---|
/// | `Applied` | the row was in `from` and is in `to` now |
/// | `AlreadyApplied` | the row is in `to` |
/// | `Conflict(OtherState)` | it is in neither |
/// | `Conflict(NoRow)` | there is none |
///
/// One statement when it applies, two otherwise. Of two transactions that do the same at one time the second waits for
/// the first, and then sees what it did.
///
/// *Weak where states come back.* In a cycle, PAID → HELD → PAID, a duplicate of the first step that comes after the second
/// applies once more: the row is in `from` again. Give such a row a version ([`bump_version`](super::bump_version)), or use
/// idem's records.
///
/// ```
/// use idem_core::sql::guard::{self, Conflict, Guarded};
/// # #[cfg(feature = "sqlite")]
/// # async fn ship(tx: &mut sqlx::SqliteConnection, order: i64) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// match guard::advance_state("orders").id("order_id", order).from("PAID").to("SHIPPED").apply(&mut *tx).await? {
///     Guarded::Applied => { /* the first time: the stock goes down in this transaction */ }
///     Guarded::AlreadyApplied => { /* a duplicate */ }
///     Guarded::Conflict(Conflict::OtherState(state)) if state.as_deref() == Some("CANCELLED") => { /* too late */ }
///     Guarded::Conflict(conflict) => return Err(conflict.into()),
/// }
/// # Ok(())
/// # }
/// ```
pub fn advance_state<'q, DB: Dialect>(table: &str) -> AdvanceState<'q, DB, NeedsId> {
    let mut row = GuardedRow::of(table);
    let state = row.name("state");
    AdvanceState { row, state, from: None, sets: Vec::new(), stage: PhantomData }
}

/// The guard that [`advance_state`] makes.
#[must_use = "a guard does nothing before `apply(..).await`"]
pub struct AdvanceState<'q, DB: Database, Stage = Ready> {
    row: GuardedRow<'q, DB>,
    /// The quoted name of the state's column.
    state: String,
    from: Option<BoundColumn<'q, DB>>,
    /// The state to come, and further columns.
    sets: Vec<BoundColumn<'q, DB>>,
    stage: PhantomData<fn() -> Stage>,
}

impl<'q, DB: Dialect, Stage: TakesId> AdvanceState<'q, DB, Stage> {
    /// The column that tells the row apart, and its value. Where it takes several columns, call it for each.
    pub fn id<T: Bind<'q, DB>>(mut self, column: &str, value: T) -> AdvanceState<'q, DB, NeedsFrom> {
        self.row.id(column, value);
        self.at()
    }

    /// The column of the state, if it is not `state`.
    pub fn column(mut self, column: &str) -> Self {
        self.state = self.row.name(column);
        self
    }
}

impl<'q, DB: Dialect> AdvanceState<'q, DB, NeedsFrom> {
    /// The state that the row must be in.
    pub fn from<T: Bind<'q, DB>>(mut self, state: T) -> AdvanceState<'q, DB, NeedsTo> {
        self.from = Some(BoundColumn::new(self.state.clone(), state));
        self.at()
    }
}

impl<'q, DB: Dialect> AdvanceState<'q, DB, NeedsTo> {
    /// The state that it moves to, which differs from the one that it is in.
    pub fn to<T: Bind<'q, DB>>(mut self, state: T) -> AdvanceState<'q, DB> {
        self.sets.push(BoundColumn::new(self.state.clone(), state));
        self.at()
    }
}

impl<'q, DB: Dialect> AdvanceState<'q, DB> {
    /// Another column that changes with the state.
    pub fn set<T: Bind<'q, DB>>(mut self, column: &str, value: T) -> Self {
        let column = self.row.column(column, value);
        self.sets.push(column);
        self
    }

    /// Moves the row, on a pool, a connection or a transaction.
    ///
    /// # Errors
    /// A refused name, more than one such row, or a failure of the database.
    ///
    /// # Cancel safety
    /// A dropped future may have moved the row, as any statement; in a transaction that rolls back it has not.
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
            // In `from` again: it came back between the two statements, unless something keeps it there.
            let came_back = found.as_ref().is_some_and(|texts| says_yes(texts, 2));
            if !came_back || attempts == ATTEMPTS {
                return Ok(meaning(found));
            }
        }
    }

    fn update(&self) -> GuardStatement<DB> {
        let update = self.row.filter(self.row.update().pairs(&self.sets, " = ", ", "));
        update.sql(&[" AND "]).pairs(&self.from, " = ", "")
    }

    /// The state as text, whether it is the one to come, and whether it is the one to come from.
    fn look(&self) -> GuardStatement<DB> {
        let select = GuardStatement::new(&["SELECT CAST(", &self.state, " AS ", DB::TEXT, ")"]);
        let select =
            self.sets.iter().take(1).chain(&self.from).fold(select, |select, state| {
                select.sql(&[", "]).asks(|condition| condition.pair(state, " = "))
            });
        self.row.from(select).sql(&[DB::FRESH])
    }
}

impl<'q, DB: Dialect, Stage> AdvanceState<'q, DB, Stage> {
    fn at<Next>(self) -> AdvanceState<'q, DB, Next> {
        let Self { row, state, from, sets, .. } = self;
        AdvanceState { row, state, from, sets, stage: PhantomData }
    }
}

fn meaning(found: Option<Texts>) -> Guarded {
    match found {
        None => Guarded::Conflict(Conflict::NoRow),
        Some(texts) if says_yes(&texts, 1) => Guarded::AlreadyApplied,
        Some(mut texts) => Guarded::Conflict(Conflict::OtherState(texts.swap_remove(0))),
    }
}

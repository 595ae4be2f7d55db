//! The beginning of every guard: a table, and the columns that tell its row apart.

use sqlx::Database;

use super::error::{Error, GuardErrorKind};
use super::statement::{Bind, BoundColumn, GuardSession, GuardStatement};
use crate::sql::name::{self, NameError};
use crate::sql::{Dialect, Target};

/// The row that a guard is about.
pub(super) struct GuardedRow<'q, DB: Database> {
    /// The table's name, quoted.
    pub(super) table: String,
    /// The columns that tell the row apart.
    pub(super) ids: Vec<BoundColumn<'q, DB>>,
    /// The table as the user named it, for errors.
    shown: String,
    /// The first name that was refused, told when the guard is applied: nobody needs a `?` at every name.
    refused: Option<NameError>,
}

impl<'q, DB: Dialect> GuardedRow<'q, DB> {
    pub(super) fn of(table: &str) -> Self {
        let mut row = Self { table: String::new(), ids: Vec::new(), shown: table.to_owned(), refused: None };
        row.table = row.checked(name::table(table, DB::QUOTE));
        row
    }

    pub(super) fn id<T: Bind<'q, DB>>(&mut self, column: &str, value: T) {
        let id = self.column(column, value);
        self.ids.push(id);
    }

    pub(super) fn column<T: Bind<'q, DB>>(&mut self, name: &str, value: T) -> BoundColumn<'q, DB> {
        BoundColumn::new(self.name(name), value)
    }

    pub(super) fn name(&mut self, name: &str) -> String {
        self.checked(name::column(name, DB::QUOTE))
    }

    fn checked(&mut self, quoted: Result<String, NameError>) -> String {
        quoted.unwrap_or_else(|refused| {
            self.refused.get_or_insert(refused);
            String::new()
        })
    }

    /// The connection to ask, unless a name was refused.
    pub(super) async fn open<'c, T>(&mut self, target: T) -> Result<GuardSession<'c, DB>, Error>
    where
        T: Target<'c, Database = DB>,
    {
        match self.refused.take() {
            Some(refused) => Err(Error::new(&self.shown, GuardErrorKind::Name(refused))),
            None => GuardSession::open(&self.shown, target).await,
        }
    }

    /// `UPDATE table SET `.
    pub(super) fn update(&self) -> GuardStatement<DB> {
        GuardStatement::new(&["UPDATE ", &self.table, " SET "])
    }

    /// ` FROM table WHERE id = $1`.
    pub(super) fn from(&self, select: GuardStatement<DB>) -> GuardStatement<DB> {
        self.filter(select.sql(&[" FROM ", &self.table]))
    }

    /// ` WHERE id = $1`.
    pub(super) fn filter(&self, statement: GuardStatement<DB>) -> GuardStatement<DB> {
        statement.sql(&[" WHERE "]).pairs(&self.ids, " = ", " AND ")
    }
}

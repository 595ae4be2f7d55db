//! A statement while it is written, and the connection that it runs on.

use sqlx::error::BoxDynError;
use sqlx::{Arguments, Connection as _, Database, Encode, Type};

use super::error::{Error, GuardErrorKind};
use crate::sql::dialect::Texts;
use crate::sql::target::GuardConnection;
use crate::sql::{Dialect, Target};

/// Whatever sqlx can bind for the database: numbers, texts, bytes, options of them, and types of one's own.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be bound as a value of `{DB}`",
    note = "sqlx must know how: the type implements `sqlx::Encode` and `sqlx::Type` for the database"
)]
pub trait Bind<'q, DB: Database>: Encode<'q, DB> + Type<DB> + Send + 'q {}

impl<'q, DB: Database, T: Encode<'q, DB> + Type<DB> + Send + 'q> Bind<'q, DB> for T {}

/// Adds the value to a statement's arguments; a guard may need more than one statement.
type AddTo<'q, DB> = dyn Fn(&mut <DB as Database>::Arguments) -> Result<(), BoxDynError> + Send + 'q;

/// A column by its quoted name, and the value that goes with it.
pub(super) struct BoundColumn<'q, DB: Database> {
    pub(super) name: String,
    value: Box<AddTo<'q, DB>>,
}

impl<'q, DB: Dialect> BoundColumn<'q, DB> {
    pub(super) fn new<T: Bind<'q, DB>>(name: String, value: T) -> Self {
        Self { name, value: Box::new(move |arguments| arguments.add(&value)) }
    }

    pub(super) fn integer(name: String, value: i64) -> Self {
        Self { name, value: Box::new(move |arguments| DB::add_integer(arguments, value)) }
    }
}

/// How often a guard tries when the row changes between its two statements.
pub(super) const ATTEMPTS: u32 = 3;

/// Whether a question of [`GuardStatement::asks`], in this column of the answer, was answered with yes.
pub(super) fn says_yes(texts: &Texts, column: usize) -> bool {
    texts[column].as_deref() == Some("yes")
}

/// A statement and what is bound to it.
pub(super) struct GuardStatement<DB: Database> {
    sql: String,
    arguments: DB::Arguments,
    /// The first column whose value could not be encoded.
    failed: Option<String>,
}

impl<DB: Dialect> GuardStatement<DB> {
    /// `parts` are idem's own words and quoted names, never a value.
    pub(super) fn new(parts: &[&str]) -> Self {
        Self { sql: parts.concat(), arguments: DB::Arguments::default(), failed: None }
    }

    /// As in [`new`](Self::new).
    pub(super) fn sql(mut self, parts: &[&str]) -> Self {
        self.sql.extend(parts.iter().copied());
        self
    }

    /// `name = $1`, with whatever operator.
    pub(super) fn pair(self, column: &BoundColumn<'_, DB>, operator: &str) -> Self {
        self.sql(&[&column.name, operator]).bind(column)
    }

    /// The pairs of all columns, with a word between them.
    pub(super) fn pairs<'a, 'q: 'a>(
        self,
        columns: impl IntoIterator<Item = &'a BoundColumn<'q, DB>>,
        operator: &str,
        between: &str,
    ) -> Self {
        columns.into_iter().enumerate().fold(self, |statement, (place, column)| {
            let statement = if place > 0 { statement.sql(&[between]) } else { statement };
            statement.pair(column, operator)
        })
    }

    /// `$1, $2`, the values of all columns.
    pub(super) fn values<'a, 'q: 'a>(
        self,
        columns: impl IntoIterator<Item = &'a BoundColumn<'q, DB>>,
    ) -> Self {
        columns.into_iter().enumerate().fold(self, |statement, (place, column)| {
            let statement = if place > 0 { statement.sql(&[", "]) } else { statement };
            statement.bind(column)
        })
    }

    /// A condition as a column of the answer; NULL is no. See [`says_yes`].
    pub(super) fn asks(self, condition: impl FnOnce(Self) -> Self) -> Self {
        condition(self.sql(&["CASE WHEN "])).sql(&[" THEN 'yes' ELSE 'no' END"])
    }

    /// The placeholder of a column's value.
    pub(super) fn bind(mut self, column: &BoundColumn<'_, DB>) -> Self {
        if (column.value)(&mut self.arguments).is_err() {
            self.failed.get_or_insert_with(|| column.name.clone());
        }
        // A string takes whatever is written to it.
        let _ = self.arguments.format_placeholder(&mut self.sql);
        self
    }
}

/// A connection for the statements of one guard.
pub(super) struct GuardSession<'c, DB: Dialect> {
    connection: GuardConnection<'c, DB>,
    table: String,
}

impl<'c, DB: Dialect> GuardSession<'c, DB> {
    pub(super) async fn open<T>(table: &str, target: T) -> Result<Self, Error>
    where
        T: Target<'c, Database = DB>,
    {
        let connection = target.connection().await.map_err(|error| Error::of_database::<DB>(table, error))?;
        Ok(Self { connection, table: table.to_owned() })
    }

    pub(super) fn needs_transaction(&self) -> Result<(), Error> {
        if self.connection.is_in_transaction() {
            Ok(())
        } else {
            Err(self.error(GuardErrorKind::NoTransaction))
        }
    }

    /// Runs a statement that is to change one row or none, and says whether it did.
    pub(super) async fn changes_one(&mut self, statement: GuardStatement<DB>) -> Result<bool, Error> {
        let (sql, arguments) = self.complete(statement)?;
        match DB::execute(&mut self.connection, sql, arguments).await {
            Ok(rows @ 2..) => Err(self.error(GuardErrorKind::ManyRows(rows))),
            Ok(rows) => Ok(rows == 1),
            Err(error) => Err(Error::of_database::<DB>(&self.table, error)),
        }
    }

    pub(super) async fn fetch(&mut self, statement: GuardStatement<DB>) -> Result<Option<Texts>, Error> {
        let (sql, arguments) = self.complete(statement)?;
        let row = DB::fetch(&mut self.connection, sql, arguments).await;
        row.map_err(|error| Error::of_database::<DB>(&self.table, error))
    }

    fn complete(&self, statement: GuardStatement<DB>) -> Result<(String, DB::Arguments), Error> {
        match statement.failed {
            None => Ok((statement.sql, statement.arguments)),
            Some(column) => Err(self.error(GuardErrorKind::Value(column))),
        }
    }

    fn error(&self, kind: GuardErrorKind) -> Error {
        Error::new(&self.table, kind)
    }
}

//! The differences between the three databases.

use futures_util::future::BoxFuture;
use sqlx::error::{BoxDynError, DatabaseError};
use sqlx::{Arguments, AssertSqlSafe, Database, Row};

/// A database that idem speaks: `sqlx::Postgres`, `sqlx::MySql` (MariaDB, too) or `sqlx::Sqlite`, each with its feature.
#[diagnostic::on_unimplemented(
    message = "idem does not speak the database `{Self}`",
    note = "it speaks `sqlx::Postgres`, `sqlx::MySql` and `sqlx::Sqlite`, with the features `postgres`, `mysql` and `sqlite`"
)]
pub trait Dialect: DialectInternals {}

/// The texts of a row's columns.
pub(super) type Texts = Vec<Option<String>>;

/// The part of [`Dialect`] that is idem's own business, and what keeps others from implementing it.
///
/// The statements are run here and not in generic code, where a bound on every connection's lifetime would be needed, with
/// which compilers refuse many a future that is `Send`.
pub trait DialectInternals: Database {
    /// The quotation mark around names.
    const QUOTE: char;
    /// Equality that holds between two NULLs.
    const SAME: &'static str;
    /// The type of texts in a cast.
    const TEXT: &'static str;
    /// The end of a query that must see what others have committed, even if the transaction began before.
    const FRESH: &'static str;
    /// The same, for a row that others may look at in the same way: an insert that was refused as a duplicate has left a
    /// shared lock on it, and two that both ask for more would wait for each other.
    const FRESH_SHARED: &'static str;
    /// How a row is locked without waiting.
    const LOCK: RowLock;
    /// Whether an insert can say that it does nothing for a row that is there. Where it cannot, the refusal of a duplicate
    /// does no harm to the transaction.
    const ON_CONFLICT: bool;

    /// Runs a statement and says how many rows it concerned.
    fn execute(
        connection: &mut Self::Connection,
        sql: String,
        arguments: Self::Arguments,
    ) -> BoxFuture<'_, sqlx::Result<u64>>;

    /// Reads one row whose columns are all texts.
    fn fetch(
        connection: &mut Self::Connection,
        sql: String,
        arguments: Self::Arguments,
    ) -> BoxFuture<'_, sqlx::Result<Option<Texts>>>;

    /// Binds a number.
    fn add_integer(arguments: &mut Self::Arguments, value: i64) -> Result<(), BoxDynError>;

    /// The meaning of an error of the server.
    fn meaning(error: &dyn DatabaseError) -> StatementErrorMeaning;

    /// Whether the text of an error may quote a value.
    fn quotes_values(error: &dyn DatabaseError) -> bool;
}

/// How a row is locked without waiting: what a query ends with, and how it ends for a row that somebody else has locked.
#[derive(Debug, Clone, Copy)]
pub enum RowLock {
    /// As if there were no such row. PostgreSQL takes no further statement after an error.
    Skips(&'static str),
    /// With [`StatementErrorMeaning::Locked`]. In MySQL's REPEATABLE READ a query without a lock, as one for whether the row is there at
    /// all, would show later ones what was there before the lock.
    Refuses(&'static str),
    /// The database has one lock, and a query has none.
    Whole,
}

/// The meaning of an error of the server for whoever ran the statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatementErrorMeaning {
    /// The same transaction may succeed when it is run again.
    RunAgain,
    /// A row with one of the unique keys is there already.
    Duplicate,
    /// Somebody else has locked it.
    Locked,
    /// Anything else.
    Other,
}

/// Code that is the same text for each database, but cannot be generic.
macro_rules! run {
    () => {
        fn execute(
            connection: &mut Self::Connection,
            sql: String,
            arguments: Self::Arguments,
        ) -> BoxFuture<'_, sqlx::Result<u64>> {
            Box::pin(async move {
                let done = sqlx::query_with(AssertSqlSafe(sql), arguments).execute(connection).await?;
                Ok(done.rows_affected())
            })
        }

        fn fetch(
            connection: &mut Self::Connection,
            sql: String,
            arguments: Self::Arguments,
        ) -> BoxFuture<'_, sqlx::Result<Option<Texts>>> {
            Box::pin(async move {
                let row = sqlx::query_with(AssertSqlSafe(sql), arguments).fetch_optional(connection).await?;
                row.map(|row| (0..row.len()).map(|column| row.try_get(column)).collect()).transpose()
            })
        }

        fn add_integer(arguments: &mut Self::Arguments, value: i64) -> Result<(), BoxDynError> {
            Arguments::add(arguments, value)
        }
    };
}

#[cfg(feature = "postgres")]
impl Dialect for sqlx::Postgres {}

#[cfg(feature = "postgres")]
impl DialectInternals for sqlx::Postgres {
    const QUOTE: char = '"';
    const SAME: &'static str = " IS NOT DISTINCT FROM ";
    const TEXT: &'static str = "TEXT";
    const FRESH: &'static str = "";
    const FRESH_SHARED: &'static str = "";
    const LOCK: RowLock = RowLock::Skips(" FOR UPDATE SKIP LOCKED");
    const ON_CONFLICT: bool = true;

    run!();

    fn meaning(error: &dyn DatabaseError) -> StatementErrorMeaning {
        match error.code().as_deref() {
            // Serialisation failure, deadlock, lock_timeout.
            Some("40001" | "40P01" | "55P03") => StatementErrorMeaning::RunAgain,
            Some("23505") => StatementErrorMeaning::Duplicate,
            _ => StatementErrorMeaning::Other,
        }
    }

    /// Texts that do not fit a type, and what triggers raise. All others keep values out of the message's first line.
    fn quotes_values(error: &dyn DatabaseError) -> bool {
        error.code().is_none_or(|code| code.starts_with("22") || code.starts_with("P0"))
    }
}

#[cfg(feature = "mysql")]
impl Dialect for sqlx::MySql {}

#[cfg(feature = "mysql")]
impl DialectInternals for sqlx::MySql {
    const QUOTE: char = '`';
    const SAME: &'static str = " <=> ";
    const TEXT: &'static str = "CHAR";
    const FRESH: &'static str = " FOR UPDATE";
    const FRESH_SHARED: &'static str = " LOCK IN SHARE MODE";
    const LOCK: RowLock = RowLock::Refuses(" FOR UPDATE NOWAIT");
    const ON_CONFLICT: bool = false;

    run!();

    fn meaning(error: &dyn DatabaseError) -> StatementErrorMeaning {
        match mysql_number(error) {
            // Record has changed since last read (MariaDB), deadlock.
            Some(1020 | 1213) => StatementErrorMeaning::RunAgain,
            // Lock wait timeout, and NOWAIT of MariaDB; NOWAIT of MySQL.
            Some(1205 | 3572) => StatementErrorMeaning::Locked,
            Some(1062) => StatementErrorMeaning::Duplicate,
            _ => StatementErrorMeaning::Other,
        }
    }

    /// All but those that name tables, columns and constraints, or nothing.
    fn quotes_values(error: &dyn DatabaseError) -> bool {
        !matches!(
            mysql_number(error),
            Some(
                1020 | 1044
                    | 1048
                    | 1054
                    | 1142
                    | 1143
                    | 1146
                    | 1205
                    | 1213
                    | 1264
                    | 1364
                    | 1406
                    | 1451
                    | 1452
                    | 3572
                    | 3819
                    | 4025
            )
        )
    }
}

/// MySQL's own number; its SQL states say too little.
#[cfg(feature = "mysql")]
fn mysql_number(error: &dyn DatabaseError) -> Option<u16> {
    error.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>().map(sqlx::mysql::MySqlDatabaseError::number)
}

#[cfg(feature = "sqlite")]
impl Dialect for sqlx::Sqlite {}

#[cfg(feature = "sqlite")]
impl DialectInternals for sqlx::Sqlite {
    /// Not the standard's: SQLite takes a name in double quotes that it does not find for a text.
    const QUOTE: char = '`';
    const SAME: &'static str = " IS ";
    const TEXT: &'static str = "TEXT";
    const FRESH: &'static str = "";
    const FRESH_SHARED: &'static str = "";
    const LOCK: RowLock = RowLock::Whole;
    const ON_CONFLICT: bool = true;

    run!();

    fn meaning(error: &dyn DatabaseError) -> StatementErrorMeaning {
        match error.code().as_deref() {
            // SQLITE_BUSY, and SQLITE_LOCKED of a shared cache.
            Some("5" | "6" | "262") => StatementErrorMeaning::Locked,
            // SQLITE_BUSY_RECOVERY, and SQLITE_BUSY_SNAPSHOT: what was read is out of date, and waiting does not help.
            Some("261" | "517") => StatementErrorMeaning::RunAgain,
            // A unique index, a primary key, a row id.
            Some("2067" | "1555" | "2579") => StatementErrorMeaning::Duplicate,
            _ => StatementErrorMeaning::Other,
        }
    }

    /// SQLite names constraints and columns alone; what a trigger says by RAISE is the user's own text.
    fn quotes_values(error: &dyn DatabaseError) -> bool {
        error.code().as_deref() == Some("1811")
    }
}

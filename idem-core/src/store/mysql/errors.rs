//! What the error numbers of MySQL and MariaDB mean.

use sqlx::error::DatabaseError;
use sqlx::mysql::MySqlDatabaseError;

use crate::store::sql::Meaning;

pub(super) fn meaning(error: &dyn DatabaseError) -> Meaning {
    let Some(error) = error.try_downcast_ref::<MySqlDatabaseError>() else { return Meaning::Statement };
    match error.number() {
        // A deadlock; a record that has changed since the transaction's snapshot.
        1213 | 1020 => Meaning::Conflict,
        // Wrong password, no such user, not from this host, an unknown way to log in.
        1045 | 1130 | 1251 | 1524 | 1698 | 3118 | 4151 => Meaning::Login,
        // No such database, none in the URL.
        1049 | 1046 => Meaning::Database,
        // Denied: database, command, column, privilege.
        1044 | 1142 | 1143 | 1227 => Meaning::Rights,
        // No such table or column.
        1146 | 1054 => Meaning::Schema,
        // --read-only and the like.
        1290 | 1836 => Meaning::ReadOnly,
        // The session's transaction is read-only.
        1792 => Meaning::Ended,
        // The disk or the table space is full.
        1021 | 1114 => Meaning::Full,
        // A statement log cannot be written under READ COMMITTED.
        1665 => Meaning::Settings,
        // The server shuts down, or has ended the connection.
        1053 | 1927 | 1152 | 1184 => Meaning::Broken,
        // A lock that another transaction has kept for too long.
        1205 => Meaning::Locked,
        // Too many connections; not ready (Galera); a statement or a query that took too long.
        1040 | 1203 | 1226 | 1047 | 1317 | 1969 | 3024 => Meaning::Passing,
        _ => Meaning::Statement,
    }
}

pub(super) fn is_no_table(error: &sqlx::Error) -> bool {
    let database = error.as_database_error().and_then(|error| error.try_downcast_ref::<MySqlDatabaseError>());
    database.is_some_and(|error| error.number() == 1146)
}

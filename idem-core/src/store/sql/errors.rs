//! What a database's errors mean to idem.

use std::fmt;

use sqlx::error::ErrorKind;

use super::dialect::Dialect;
use crate::store::StoreError;

/// What an error means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum Meaning {
    /// The connection is of no use; another one may be.
    Broken,
    /// The database rolled the statement back for another one's sake.
    Conflict,
    /// The transaction that it was meant for has ended, and outside of it the session writes nothing.
    Ended,
    /// Another transaction has locked a row for longer than is waited.
    Locked,
    /// The server cannot answer just now.
    Passing,
    /// The server cannot be written: a standby, or set so.
    ReadOnly,
    /// User or password are wrong.
    Login,
    /// The database does not exist.
    Database,
    /// The user lacks a right.
    Rights,
    /// Tables are missing, or have other columns.
    Schema,
    /// There is no room on the server's disk.
    Full,
    /// The file cannot be opened, or is no database.
    File,
    /// The file may not be written.
    ReadOnlyFile,
    /// A certificate is not trusted, or the server speaks no TLS.
    Tls,
    /// URL or settings are not valid.
    Settings,
    /// The server refused the statement.
    Statement,
}

pub(in crate::store) fn meaning<D: Dialect>(error: &sqlx::Error) -> Meaning {
    match error {
        sqlx::Error::Database(error) => D::meaning(&**error),
        sqlx::Error::Io(error) if error.to_string().contains("certificate") => Meaning::Tls,
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => Meaning::Broken,
        sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed => Meaning::Passing,
        sqlx::Error::Tls(_) => Meaning::Tls,
        sqlx::Error::Configuration(_) => Meaning::Settings,
        _ => Meaning::Statement,
    }
}

/// The error of one call to the server named `at`.
pub(in crate::store) fn store_error<D: Dialect>(error: sqlx::Error, at: &str) -> StoreError {
    let meaning = meaning::<D>(&error);
    let text = format!("{} at {at} {}", D::TITLE, text(meaning));
    let translated = match meaning {
        Meaning::Broken
        | Meaning::Conflict
        | Meaning::Ended
        | Meaning::Locked
        | Meaning::Passing
        | Meaning::ReadOnly => StoreError::unavailable(text),
        Meaning::Full => StoreError::full(text),
        Meaning::Statement => StoreError::statement(text),
        Meaning::Login
        | Meaning::Database
        | Meaning::Rights
        | Meaning::Schema
        | Meaning::File
        | Meaning::ReadOnlyFile
        | Meaning::Tls
        | Meaning::Settings => StoreError::config(text),
    };
    translated.with_source(Cause::of(error))
}

fn text(meaning: Meaning) -> &'static str {
    match meaning {
        Meaning::Broken => "is out of reach",
        Meaning::Conflict => "rolled idem's statement back for another one's sake, again and again",
        Meaning::Locked => "has a record locked by another transaction",
        Meaning::Passing => "cannot answer just now",
        Meaning::Ended | Meaning::ReadOnly => "is read-only: idem needs one that takes writes",
        Meaning::Login => {
            "does not let idem in: check user and password, and from where the server lets the user in"
        }
        Meaning::Database => "has no database of that name: create it, or correct the URL",
        Meaning::Rights => {
            "does not let this user work with idem's tables: grant SELECT, INSERT, UPDATE and DELETE on them"
        }
        Meaning::Schema => "does not have idem's tables as this version needs them: run the migrations",
        Meaning::Full => "has no room for another record: give it more, or shorten the retention",
        Meaning::File => {
            "cannot be opened: its directory must exist and be writable, and the file be a database of SQLite"
        }
        Meaning::ReadOnlyFile => {
            "is read-only: let the process's user write the file and its directory, where SQLite keeps the log, and open a \
             pool of your own without `read_only`"
        }
        Meaning::Tls => {
            "did not agree on TLS with idem: check the URL's TLS mode, the server's certificate and `root_certificates`"
        }
        Meaning::Settings => "cannot be connected to: the URL or the settings are not valid",
        Meaning::Statement => "refused idem's statement",
    }
}

/// A call that had no answer in time.
pub(in crate::store) fn timed_out<D: Dialect>(at: &str) -> StoreError {
    StoreError::unavailable(format!("{} at {at} did not answer in time", D::TITLE))
}

/// The database's own words, without what may be a key: servers quote values in what they say about constraints.
#[derive(Debug)]
struct Cause(String);

impl Cause {
    fn of(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::Database(error) if error.kind() != ErrorKind::Other => {
                Self(format!("error {}", error.code().unwrap_or_default()))
            }
            sqlx::Error::Database(error) => {
                Self(format!("error {}: {}", error.code().unwrap_or_default(), error.message()))
            }
            // A URL may hold a password.
            sqlx::Error::Configuration(_) => Self("the text of the URL is not shown".to_owned()),
            other => Self(other.to_string()),
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Cause {}

//! The meaning of a database's errors for idem, and their texts for people.

use std::fmt::Write as _;
use std::io;

use super::codes::KnownCode;
use super::dialect::StoreDialect;
use super::meaning::{ErrorSort, SqlErrorMeaning};
use crate::store::StoreError;

/// The longest of a server's words that are shown.
const LONGEST: usize = 300;

pub(in crate::store) fn meaning<D: StoreDialect>(error: &sqlx::Error) -> SqlErrorMeaning {
    match error {
        sqlx::Error::Database(error) => D::known(&**error).meaning,
        // So a handshake fails over a certificate that is not trusted.
        sqlx::Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => SqlErrorMeaning::Tls,
        sqlx::Error::Io(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::BeginFailed
        | sqlx::Error::InvalidSavePointStatement => SqlErrorMeaning::Broken,
        sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed => SqlErrorMeaning::Passing,
        sqlx::Error::Tls(_) => SqlErrorMeaning::Tls,
        sqlx::Error::Configuration(_) => SqlErrorMeaning::Settings,
        _ => SqlErrorMeaning::Statement,
    }
}

/// The error of one call to the server named `at`.
pub(in crate::store) fn store_error<D: StoreDialect>(error: &sqlx::Error, at: &str) -> StoreError {
    let meaning = meaning::<D>(error);
    let text = format!("{} at {at} {}{}", D::TITLE, text(meaning), said::<D>(error));
    match (meaning, meaning.sort()) {
        (SqlErrorMeaning::Full, _) => StoreError::full(text),
        (_, ErrorSort::AskAgain | ErrorSort::Conflict) => StoreError::unavailable(text),
        (_, ErrorSort::Entry) => StoreError::statement(text),
        (_, ErrorSort::Configuration) => StoreError::config(text),
    }
}

fn text(meaning: SqlErrorMeaning) -> &'static str {
    match meaning {
        SqlErrorMeaning::Broken => "is out of reach",
        SqlErrorMeaning::Conflict => "rolled idem's statement back for another one's sake, again and again",
        SqlErrorMeaning::Locked => "has a record locked by another transaction",
        SqlErrorMeaning::Passing => "cannot answer just now",
        SqlErrorMeaning::Ended | SqlErrorMeaning::ReadOnly => {
            "is read-only: idem needs one that takes writes"
        }
        SqlErrorMeaning::Login => {
            "does not let idem in: check user and password, and from where the server lets the user in"
        }
        SqlErrorMeaning::Database => "has no database of that name: create it, or correct the URL",
        SqlErrorMeaning::Rights => {
            "does not let this user work with idem's tables: grant SELECT, INSERT, UPDATE and DELETE on them"
        }
        SqlErrorMeaning::Schema => {
            "does not have idem's tables as this version needs them: run the migrations"
        }
        SqlErrorMeaning::Full => "has no room for another record: give it more, or shorten the retention",
        SqlErrorMeaning::File => {
            "cannot be opened: its directory must exist and be writable, and the file be a database of SQLite"
        }
        SqlErrorMeaning::ReadOnlyFile => {
            "is read-only: let the process's user write the file and its directory, where SQLite keeps the log, and open a \
             pool of your own without `read_only`"
        }
        SqlErrorMeaning::Damaged => "says that idem's tables are damaged: restore them",
        SqlErrorMeaning::Tls => {
            "did not agree on TLS with idem: check the URL's TLS mode, the server's certificate and `root_certificates`"
        }
        SqlErrorMeaning::Settings => "cannot be connected to: the URL or the settings are not valid",
        SqlErrorMeaning::Forbidden => "is set to refuse idem's statement",
        SqlErrorMeaning::Statement => "refused idem's statement",
    }
}

/// A call that had no answer in time.
pub(in crate::store) fn timed_out<D: StoreDialect>(at: &str) -> StoreError {
    StoreError::unavailable(format!("{} at {at} did not answer in time", D::TITLE))
}

/// The server's own code and words, in brackets.
///
/// No key, payload or secret: a server quotes values in what it says about one entry and in triggers, so there is its code
/// alone, by the name that the manual has it under.
pub(in crate::store) fn said<D: StoreDialect>(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => {
            let KnownCode { name, is_text_shown, .. } = D::known(&**error);
            let mut said = format!(" (error {}", D::code(&**error));
            if is_text_shown {
                let words = error.message();
                let end = words.char_indices().nth(LONGEST).map_or(words.len(), |(end, _)| end);
                let _ = write!(said, ": {}", words[..end].trim_end());
            } else if let Some(name) = name {
                let _ = write!(said, ", {name}");
            }
            said + ")"
        }
        // A URL may hold a password, and what does not fit into a statement is a value.
        sqlx::Error::Configuration(_) | sqlx::Error::Encode(_) | sqlx::Error::Decode(_) => String::new(),
        other => format!(" ({other})"),
    }
}

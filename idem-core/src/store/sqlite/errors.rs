//! What SQLite's result codes mean.

use sqlx::error::DatabaseError;

use crate::store::sql::Meaning;

pub(super) fn meaning(error: &dyn DatabaseError) -> Meaning {
    let extended: u32 = error.code().and_then(|code| code.parse().ok()).unwrap_or(1);
    // The low byte is the code, what is above says more about it.
    match extended & 0xff {
        // CONSTRAINT_COMMITHOOK
        19 if extended == 531 => Meaning::Ended,
        // BUSY, LOCKED: somebody else writes, and has for longer than a call waits. NOMEM, IOERR.
        5 | 6 | 7 | 10 => Meaning::Passing,
        // READONLY
        8 => Meaning::ReadOnlyFile,
        // FULL
        13 => Meaning::Full,
        // PERM, CORRUPT, CANTOPEN, AUTH, NOTADB
        3 | 11 | 14 | 23 | 26 => Meaning::File,
        1 if error.message().starts_with("no such") => Meaning::Schema,
        _ => Meaning::Statement,
    }
}

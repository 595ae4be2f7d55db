//! The meaning of SQLite's result codes.

use sqlx::error::DatabaseError;

use crate::store::sql::{Code, KnownCode, SqlErrorMeaning, look_up};

/// The low byte is the code, what is above says more about it. The first that fits counts: extended codes come first.
const CODES: &[Code<u32>] = &[
    // A write behind a snapshot that is old.
    (517, "SQLITE_BUSY_SNAPSHOT", SqlErrorMeaning::Conflict),
    // idem's guard: a commit that is not idem's own.
    (531, "SQLITE_CONSTRAINT_COMMITHOOK", SqlErrorMeaning::Ended),
    // The file is another one by now.
    (1032, "SQLITE_READONLY_DBMOVED", SqlErrorMeaning::Broken),
    (8458, "SQLITE_IOERR_CORRUPTFS", SqlErrorMeaning::Damaged),
    (2, "SQLITE_INTERNAL", SqlErrorMeaning::Statement),
    (3, "SQLITE_PERM", SqlErrorMeaning::File),
    // Another statement on the connection has rolled back.
    (4, "SQLITE_ABORT", SqlErrorMeaning::Conflict),
    // Somebody else writes, and has for longer than a call waits.
    (5, "SQLITE_BUSY", SqlErrorMeaning::Passing),
    (6, "SQLITE_LOCKED", SqlErrorMeaning::Passing),
    (7, "SQLITE_NOMEM", SqlErrorMeaning::Passing),
    (8, "SQLITE_READONLY", SqlErrorMeaning::ReadOnlyFile),
    (9, "SQLITE_INTERRUPT", SqlErrorMeaning::Passing),
    (10, "SQLITE_IOERR", SqlErrorMeaning::Passing),
    (11, "SQLITE_CORRUPT", SqlErrorMeaning::Damaged),
    (13, "SQLITE_FULL", SqlErrorMeaning::Full),
    (14, "SQLITE_CANTOPEN", SqlErrorMeaning::File),
    (15, "SQLITE_PROTOCOL", SqlErrorMeaning::Passing),
    (17, "SQLITE_SCHEMA", SqlErrorMeaning::Broken),
    (22, "SQLITE_NOLFS", SqlErrorMeaning::File),
    (23, "SQLITE_AUTH", SqlErrorMeaning::Rights),
    (26, "SQLITE_NOTADB", SqlErrorMeaning::File),
    // One entry is the reason; the words of a trigger may quote it.
    (18, "SQLITE_TOOBIG", SqlErrorMeaning::Statement),
    (19, "SQLITE_CONSTRAINT", SqlErrorMeaning::Statement),
    (20, "SQLITE_MISMATCH", SqlErrorMeaning::Statement),
    (21, "SQLITE_MISUSE", SqlErrorMeaning::Statement),
    (25, "SQLITE_RANGE", SqlErrorMeaning::Statement),
];

pub(super) fn known(error: &dyn DatabaseError) -> KnownCode {
    let extended: u32 = error.code().and_then(|code| code.parse().ok()).unwrap_or(1);
    // The one code for all that is wrong with a statement: only its words tell a missing table or column.
    if extended == 1 && error.message().starts_with("no such") {
        return KnownCode {
            meaning: SqlErrorMeaning::Schema,
            name: Some("SQLITE_ERROR"),
            is_text_shown: true,
        };
    }
    of(extended)
}

fn of(extended: u32) -> KnownCode {
    let known = look_up(CODES, &extended).or_else(|| look_up(CODES, &(extended & 0xff)));
    known.unwrap_or_else(|| KnownCode::unknown(SqlErrorMeaning::Statement))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sql::ErrorSort;
    use crate::store::sql::tests::each_code_stands_once;

    #[test]
    fn each_code_has_one_meaning() {
        each_code_stands_once(CODES);
    }

    /// `SQLITE_BUSY_RECOVERY`, `SQLITE_IOERR_WRITE`, `SQLITE_CANTOPEN_ISDIR`, `SQLITE_READONLY_DIRECTORY` and others.
    #[test]
    fn an_extended_code_means_what_its_code_does_unless_it_says_more() {
        for (sort, codes) in [
            (ErrorSort::AskAgain, &[5, 261, 773, 6, 262, 10, 266, 778, 531, 1032, 13][..]),
            (ErrorSort::Conflict, &[517, 4, 516]),
            (ErrorSort::Configuration, &[8, 1544, 11, 267, 14, 526, 26, 8458]),
            (ErrorSort::Entry, &[18, 19, 1555, 2067, 1811, 1, 99]),
        ] {
            for code in codes {
                assert_eq!(of(*code).meaning.sort(), sort, "{code}");
            }
        }
        assert!(of(531).is_text_shown && of(10).is_text_shown);
        assert!(!of(1811).is_text_shown && !of(1).is_text_shown, "a trigger's words");
    }
}

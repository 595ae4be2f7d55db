//! The meaning of PostgreSQL's error codes; the list is Appendix A of its manual.

use sqlx::error::DatabaseError;
use sqlx::postgres::{PgDatabaseError, PgSeverity};

use crate::store::sql::{Code, KnownCode, SqlErrorMeaning, look_up};

const CODES: &[Code<&str>] = &[
    // The connection is of no use; another one may be.
    ("08000", "connection_exception", SqlErrorMeaning::Broken),
    ("08001", "sqlclient_unable_to_establish_sqlconnection", SqlErrorMeaning::Broken),
    ("08003", "connection_does_not_exist", SqlErrorMeaning::Broken),
    ("08004", "sqlserver_rejected_establishment_of_sqlconnection", SqlErrorMeaning::Broken),
    ("08006", "connection_failure", SqlErrorMeaning::Broken),
    ("08007", "transaction_resolution_unknown", SqlErrorMeaning::Broken),
    ("08P01", "protocol_violation", SqlErrorMeaning::Broken),
    // A plan that the tables do not fit any more; a transaction that writes, on a standby.
    ("0A000", "feature_not_supported", SqlErrorMeaning::Broken),
    ("25P03", "idle_in_transaction_session_timeout", SqlErrorMeaning::Broken),
    ("25P04", "transaction_timeout", SqlErrorMeaning::Broken),
    // Statements that were prepared over another connection of a pooler's.
    ("26000", "invalid_sql_statement_name", SqlErrorMeaning::Broken),
    ("42P05", "duplicate_prepared_statement", SqlErrorMeaning::Broken),
    ("40003", "statement_completion_unknown", SqlErrorMeaning::Broken),
    ("57P01", "admin_shutdown", SqlErrorMeaning::Broken),
    ("57P02", "crash_shutdown", SqlErrorMeaning::Broken),
    ("57P03", "cannot_connect_now", SqlErrorMeaning::Broken),
    ("57P05", "idle_session_timeout", SqlErrorMeaning::Broken),
    // Rolled back for another transaction's sake.
    ("40000", "transaction_rollback", SqlErrorMeaning::Conflict),
    ("40001", "serialization_failure", SqlErrorMeaning::Conflict),
    ("40P01", "deadlock_detected", SqlErrorMeaning::Conflict),
    ("55P03", "lock_not_available", SqlErrorMeaning::Locked),
    // Not just now.
    ("53000", "insufficient_resources", SqlErrorMeaning::Passing),
    ("53200", "out_of_memory", SqlErrorMeaning::Passing),
    ("53300", "too_many_connections", SqlErrorMeaning::Passing),
    ("53400", "configuration_limit_exceeded", SqlErrorMeaning::Passing),
    ("55006", "object_in_use", SqlErrorMeaning::Passing),
    ("57000", "operator_intervention", SqlErrorMeaning::Passing),
    ("57014", "query_canceled", SqlErrorMeaning::Passing),
    ("58000", "system_error", SqlErrorMeaning::Passing),
    ("58030", "io_error", SqlErrorMeaning::Passing),
    ("58P01", "undefined_file", SqlErrorMeaning::Passing),
    ("25006", "read_only_sql_transaction", SqlErrorMeaning::Ended),
    ("53100", "disk_full", SqlErrorMeaning::Full),
    // Errors that only a person ends.
    ("28000", "invalid_authorization_specification", SqlErrorMeaning::Login),
    ("28P01", "invalid_password", SqlErrorMeaning::Login),
    ("3D000", "invalid_catalog_name", SqlErrorMeaning::Database),
    ("57P04", "database_dropped", SqlErrorMeaning::Database),
    ("42501", "insufficient_privilege", SqlErrorMeaning::Rights),
    ("3F000", "invalid_schema_name", SqlErrorMeaning::Schema),
    ("42703", "undefined_column", SqlErrorMeaning::Schema),
    ("42804", "datatype_mismatch", SqlErrorMeaning::Schema),
    ("42883", "undefined_function", SqlErrorMeaning::Schema),
    ("42P01", "undefined_table", SqlErrorMeaning::Schema),
    // No unique constraint for ON CONFLICT.
    ("42P10", "invalid_column_reference", SqlErrorMeaning::Schema),
    ("XX001", "data_corrupted", SqlErrorMeaning::Damaged),
    ("XX002", "index_corrupted", SqlErrorMeaning::Damaged),
    // One entry is the reason, mostly; the words may quote it.
    ("21000", "cardinality_violation", SqlErrorMeaning::Statement),
    ("22003", "numeric_value_out_of_range", SqlErrorMeaning::Statement),
    ("22021", "character_not_in_repertoire", SqlErrorMeaning::Statement),
    ("22P02", "invalid_text_representation", SqlErrorMeaning::Statement),
    ("23502", "not_null_violation", SqlErrorMeaning::Statement),
    ("23505", "unique_violation", SqlErrorMeaning::Statement),
    ("23514", "check_violation", SqlErrorMeaning::Statement),
    ("25P02", "in_failed_sql_transaction", SqlErrorMeaning::Statement),
    ("54000", "program_limit_exceeded", SqlErrorMeaning::Statement),
    ("P0001", "raise_exception", SqlErrorMeaning::Statement),
    ("XX000", "internal_error", SqlErrorMeaning::Statement),
];

pub(super) fn known(error: &dyn DatabaseError) -> KnownCode {
    let code = error.code().unwrap_or_default();
    look_up(CODES, &&*code).unwrap_or_else(|| {
        let ends =
            |error: &PgDatabaseError| matches!(error.severity(), PgSeverity::Fatal | PgSeverity::Panic);
        let is_fatal = error.try_downcast_ref::<PgDatabaseError>().is_some_and(ends);
        KnownCode::unknown(of_class(&code, is_fatal))
    })
}

/// A code that is not in the table.
fn of_class(code: &str, is_fatal: bool) -> SqlErrorMeaning {
    match code.get(..2) {
        Some("08") => SqlErrorMeaning::Broken,
        Some("28") => SqlErrorMeaning::Login,
        Some("40") => SqlErrorMeaning::Conflict,
        // The server has closed the connection.
        _ if is_fatal => SqlErrorMeaning::Broken,
        Some("53" | "57" | "58") => SqlErrorMeaning::Passing,
        _ => SqlErrorMeaning::Statement,
    }
}

#[cfg(test)]
mod tests {
    use super::super::dialect::Postgres;
    use super::*;
    use crate::store::sql::tests::{FakeServerError, each_code_stands_once, sort_of};
    use crate::store::sql::{ErrorSort, store_error};

    #[test]
    fn each_code_has_one_meaning() {
        each_code_stands_once(CODES);
        assert!(CODES.iter().all(|(code, ..)| code.len() == 5));
    }

    #[test]
    fn what_costs_no_attempt_and_what_only_a_person_ends_is_known_by_its_code() {
        for (sort, codes) in [
            (
                ErrorSort::AskAgain,
                &[
                    "57P01", "57P02", "57P03", "57P05", "25P03", "53300", "25006", "55P03", "08006", "58030",
                    "57014",
                ][..],
            ),
            (ErrorSort::Conflict, &["40001", "40P01"]),
            (ErrorSort::Configuration, &["28P01", "3D000", "42501", "42P01", "XX001"]),
            (ErrorSort::Entry, &["22021", "23505", "XX000"]),
        ] {
            for code in codes {
                assert_eq!(sort_of(CODES, code), Some(sort), "{code}");
            }
        }
        for (code, is_fatal, meaning) in [
            ("08999", false, SqlErrorMeaning::Broken),
            ("40999", false, SqlErrorMeaning::Conflict),
            ("58999", false, SqlErrorMeaning::Passing),
            ("XX999", true, SqlErrorMeaning::Broken),
            ("22999", false, SqlErrorMeaning::Statement),
            ("", false, SqlErrorMeaning::Statement),
        ] {
            assert_eq!(of_class(code, is_fatal), meaning, "{code}");
        }
    }

    #[test]
    fn an_error_shows_the_server_s_code_and_its_words_unless_they_may_quote_a_value() {
        let told = |code, words| {
            let error = sqlx::Error::Database(Box::new(FakeServerError(code, words)));
            let error = store_error::<Postgres>(&error, "host:1/shop");
            assert!(std::error::Error::source(&error).is_none(), "nothing is said twice");
            error.to_string()
        };
        assert_eq!(
            told("42P01", "relation \"idem_records\" does not exist"),
            "PostgreSQL at host:1/shop does not have idem's tables as this version needs them: run the migrations (error 42P01: \
             relation \"idem_records\" does not exist)"
        );
        for (code, end) in [
            ("22P02", "refused idem's statement (error 22P02, invalid_text_representation)"),
            ("23505", "refused idem's statement (error 23505, unique_violation)"),
            ("P0001", "refused idem's statement (error P0001, raise_exception)"),
            // In no table.
            ("23999", "refused idem's statement (error 23999)"),
            ("58999", "cannot answer just now (error 58999)"),
        ] {
            let told = told(code, "the key order-4711 is bad");
            assert!(told.ends_with(end) && !told.contains("4711"), "{told}");
        }
    }
}

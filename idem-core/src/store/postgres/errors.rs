//! What PostgreSQL's error codes mean; the list is Appendix A of its manual.

use sqlx::error::DatabaseError;
use sqlx::postgres::{PgDatabaseError, PgSeverity};

use crate::store::sql::{Code, Known, Meaning, look_up};

const CODES: &[Code<&str>] = &[
    // The connection is of no use; another one may be.
    ("08000", "connection_exception", Meaning::Broken),
    ("08001", "sqlclient_unable_to_establish_sqlconnection", Meaning::Broken),
    ("08003", "connection_does_not_exist", Meaning::Broken),
    ("08004", "sqlserver_rejected_establishment_of_sqlconnection", Meaning::Broken),
    ("08006", "connection_failure", Meaning::Broken),
    ("08007", "transaction_resolution_unknown", Meaning::Broken),
    ("08P01", "protocol_violation", Meaning::Broken),
    // A plan that the tables do not fit any more; a transaction that writes, on a standby.
    ("0A000", "feature_not_supported", Meaning::Broken),
    ("25P03", "idle_in_transaction_session_timeout", Meaning::Broken),
    ("25P04", "transaction_timeout", Meaning::Broken),
    // Statements that were prepared over another connection of a pooler's.
    ("26000", "invalid_sql_statement_name", Meaning::Broken),
    ("42P05", "duplicate_prepared_statement", Meaning::Broken),
    ("40003", "statement_completion_unknown", Meaning::Broken),
    ("57P01", "admin_shutdown", Meaning::Broken),
    ("57P02", "crash_shutdown", Meaning::Broken),
    ("57P03", "cannot_connect_now", Meaning::Broken),
    ("57P05", "idle_session_timeout", Meaning::Broken),
    // Rolled back for another transaction's sake.
    ("40000", "transaction_rollback", Meaning::Conflict),
    ("40001", "serialization_failure", Meaning::Conflict),
    ("40P01", "deadlock_detected", Meaning::Conflict),
    ("55P03", "lock_not_available", Meaning::Locked),
    // Not just now.
    ("53000", "insufficient_resources", Meaning::Passing),
    ("53200", "out_of_memory", Meaning::Passing),
    ("53300", "too_many_connections", Meaning::Passing),
    ("53400", "configuration_limit_exceeded", Meaning::Passing),
    ("55006", "object_in_use", Meaning::Passing),
    ("57000", "operator_intervention", Meaning::Passing),
    ("57014", "query_canceled", Meaning::Passing),
    ("58000", "system_error", Meaning::Passing),
    ("58030", "io_error", Meaning::Passing),
    ("58P01", "undefined_file", Meaning::Passing),
    ("25006", "read_only_sql_transaction", Meaning::Ended),
    ("53100", "disk_full", Meaning::Full),
    // What only a person ends.
    ("28000", "invalid_authorization_specification", Meaning::Login),
    ("28P01", "invalid_password", Meaning::Login),
    ("3D000", "invalid_catalog_name", Meaning::Database),
    ("57P04", "database_dropped", Meaning::Database),
    ("42501", "insufficient_privilege", Meaning::Rights),
    ("3F000", "invalid_schema_name", Meaning::Schema),
    ("42703", "undefined_column", Meaning::Schema),
    ("42804", "datatype_mismatch", Meaning::Schema),
    ("42883", "undefined_function", Meaning::Schema),
    ("42P01", "undefined_table", Meaning::Schema),
    // No unique constraint for ON CONFLICT.
    ("42P10", "invalid_column_reference", Meaning::Schema),
    ("XX001", "data_corrupted", Meaning::Damaged),
    ("XX002", "index_corrupted", Meaning::Damaged),
    // One entry is the reason, mostly; the words may quote it.
    ("21000", "cardinality_violation", Meaning::Statement),
    ("22003", "numeric_value_out_of_range", Meaning::Statement),
    ("22021", "character_not_in_repertoire", Meaning::Statement),
    ("22P02", "invalid_text_representation", Meaning::Statement),
    ("23502", "not_null_violation", Meaning::Statement),
    ("23505", "unique_violation", Meaning::Statement),
    ("23514", "check_violation", Meaning::Statement),
    ("25P02", "in_failed_sql_transaction", Meaning::Statement),
    ("54000", "program_limit_exceeded", Meaning::Statement),
    ("P0001", "raise_exception", Meaning::Statement),
    ("XX000", "internal_error", Meaning::Statement),
];

pub(super) fn known(error: &dyn DatabaseError) -> Known {
    let code = error.code().unwrap_or_default();
    look_up(CODES, &&*code).unwrap_or_else(|| {
        let ends =
            |error: &PgDatabaseError| matches!(error.severity(), PgSeverity::Fatal | PgSeverity::Panic);
        let is_fatal = error.try_downcast_ref::<PgDatabaseError>().is_some_and(ends);
        Known::unknown(of_class(&code, is_fatal))
    })
}

/// A code that is not in the table.
fn of_class(code: &str, is_fatal: bool) -> Meaning {
    match code.get(..2) {
        Some("08") => Meaning::Broken,
        Some("28") => Meaning::Login,
        Some("40") => Meaning::Conflict,
        // The server has closed the connection.
        _ if is_fatal => Meaning::Broken,
        Some("53" | "57" | "58") => Meaning::Passing,
        _ => Meaning::Statement,
    }
}

#[cfg(test)]
mod tests {
    use super::super::dialect::Postgres;
    use super::*;
    use crate::store::sql::tests::{Said, each_code_stands_once, sort_of};
    use crate::store::sql::{Sort, store_error};

    #[test]
    fn each_code_has_one_meaning() {
        each_code_stands_once(CODES);
        assert!(CODES.iter().all(|(code, ..)| code.len() == 5));
    }

    #[test]
    fn what_costs_no_attempt_and_what_only_a_person_ends_is_known_by_its_code() {
        for (sort, codes) in [
            (
                Sort::AskAgain,
                &[
                    "57P01", "57P02", "57P03", "57P05", "25P03", "53300", "25006", "55P03", "08006", "58030",
                    "57014",
                ][..],
            ),
            (Sort::Conflict, &["40001", "40P01"]),
            (Sort::Configuration, &["28P01", "3D000", "42501", "42P01", "XX001"]),
            (Sort::Entry, &["22021", "23505", "XX000"]),
        ] {
            for code in codes {
                assert_eq!(sort_of(CODES, code), Some(sort), "{code}");
            }
        }
        for (code, is_fatal, meaning) in [
            ("08999", false, Meaning::Broken),
            ("40999", false, Meaning::Conflict),
            ("58999", false, Meaning::Passing),
            ("XX999", true, Meaning::Broken),
            ("22999", false, Meaning::Statement),
            ("", false, Meaning::Statement),
        ] {
            assert_eq!(of_class(code, is_fatal), meaning, "{code}");
        }
    }

    #[test]
    fn an_error_shows_the_server_s_code_and_its_words_unless_they_may_quote_a_value() {
        let told = |code, words| {
            let error = sqlx::Error::Database(Box::new(Said(code, words)));
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

//! What PostgreSQL's error codes mean; the list is Appendix A of its manual.

use sqlx::error::DatabaseError;

use crate::store::sql::Meaning;

pub(super) fn meaning(error: &dyn DatabaseError) -> Meaning {
    let code = error.code().unwrap_or_default();
    match &*code {
        // serialization_failure, deadlock_detected
        "40001" | "40P01" => Meaning::Conflict,
        // read_only_sql_transaction
        "25006" => Meaning::Ended,
        // feature_not_supported: a transaction that writes, on a standby
        "0A000" => Meaning::ReadOnly,
        // invalid_catalog_name
        "3D000" => Meaning::Database,
        // insufficient_privilege
        "42501" => Meaning::Rights,
        // undefined_table, undefined_column, invalid_schema_name, datatype_mismatch, no unique constraint for ON CONFLICT
        "42P01" | "42703" | "3F000" | "42804" | "42P10" => Meaning::Schema,
        // disk_full
        "53100" => Meaning::Full,
        // lock_not_available
        "55P03" => Meaning::Locked,
        // query_canceled (a time-out)
        "57014" => Meaning::Passing,
        _ => match &code[..code.len().min(2)] {
            // invalid authorization
            "28" => Meaning::Login,
            // connection exceptions, operator intervention (a shutdown)
            "08" | "57" => Meaning::Broken,
            // insufficient resources, such as connections
            "53" => Meaning::Passing,
            _ => Meaning::Statement,
        },
    }
}

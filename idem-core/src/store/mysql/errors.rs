//! What the error numbers of MySQL and MariaDB mean, and of what speaks their protocol.

use sqlx::error::DatabaseError;
use sqlx::mysql::MySqlDatabaseError;

use crate::store::sql::{Code, Known, Meaning, look_up};

/// Sorted by meaning. From the error references of MySQL 9 and MariaDB 11; 8000 and more are those of `TiDB`, 9001 also of
/// `ProxySQL`.
const CODES: &[Code<u16>] = &[
    // The server shuts down, or has closed the connection; or the session is not what it was.
    (1043, "ER_HANDSHAKE_ERROR", Meaning::Broken),
    (1053, "ER_SERVER_SHUTDOWN", Meaning::Broken),
    (1152, "ER_ABORTING_CONNECTION", Meaning::Broken),
    (1156, "ER_NET_PACKETS_OUT_OF_ORDER", Meaning::Broken),
    (1157, "ER_NET_UNCOMPRESS_ERROR", Meaning::Broken),
    (1158, "ER_NET_READ_ERROR", Meaning::Broken),
    (1159, "ER_NET_READ_INTERRUPTED", Meaning::Broken),
    (1160, "ER_NET_ERROR_ON_WRITE", Meaning::Broken),
    (1161, "ER_NET_WRITE_INTERRUPTED", Meaning::Broken),
    (1184, "ER_NEW_ABORTING_CONNECTION", Meaning::Broken),
    (1243, "ER_UNKNOWN_STMT_HANDLER", Meaning::Broken),
    (1615, "ER_NEED_REPREPARE", Meaning::Broken),
    (1835, "ER_MALFORMED_PACKET", Meaning::Broken),
    (1927, "ER_CONNECTION_KILLED", Meaning::Broken),
    (3032, "ER_SERVER_OFFLINE_MODE", Meaning::Broken),
    (3169, "ER_SESSION_WAS_KILLED", Meaning::Broken),
    // From 8.0.24 on written into an idle connection before it is closed.
    (4031, "ER_CLIENT_INTERACTION_TIMEOUT", Meaning::Broken),
    // Rolled back for another transaction's sake; 1180 and 3101 by the commit, in a cluster.
    (1020, "ER_CHECKREAD", Meaning::Conflict),
    (1180, "ER_ERROR_DURING_COMMIT", Meaning::Conflict),
    (1213, "ER_LOCK_DEADLOCK", Meaning::Conflict),
    (1613, "ER_XA_RBTIMEOUT", Meaning::Conflict),
    (1614, "ER_XA_RBDEADLOCK", Meaning::Conflict),
    (3058, "ER_USER_LOCK_DEADLOCK", Meaning::Conflict),
    (3101, "ER_TRANSACTION_ROLLBACK_DURING_COMMIT", Meaning::Conflict),
    (8002, "TiDB: snapshot too old", Meaning::Conflict),
    (8005, "TiDB: write conflict in a latch", Meaning::Conflict),
    (8022, "TiDB: commit failed and was rolled back", Meaning::Conflict),
    (8028, "TiDB: schema changed", Meaning::Conflict),
    (9007, "TiDB: write conflict", Meaning::Conflict),
    // A lock that another transaction has kept for too long.
    (1205, "ER_LOCK_WAIT_TIMEOUT", Meaning::Locked),
    (1689, "ER_LOCK_ABORTED", Meaning::Locked),
    (3572, "ER_LOCK_NOWAIT", Meaning::Locked),
    // Not just now: too many connections, out of memory, an I/O error, a time-out, no quorum.
    (1015, "ER_CANT_LOCK", Meaning::Passing),
    (1023, "ER_ERROR_ON_CLOSE", Meaning::Passing),
    (1024, "ER_ERROR_ON_READ", Meaning::Passing),
    (1026, "ER_ERROR_ON_WRITE", Meaning::Passing),
    (1030, "ER_GET_ERRNO", Meaning::Passing),
    (1037, "ER_OUTOFMEMORY", Meaning::Passing),
    (1038, "ER_OUT_OF_SORTMEMORY", Meaning::Passing),
    (1040, "ER_CON_COUNT_ERROR", Meaning::Passing),
    (1041, "ER_OUT_OF_RESOURCES", Meaning::Passing),
    (1047, "ER_UNKNOWN_COM_ERROR", Meaning::Passing),
    (1135, "ER_CANT_CREATE_THREAD", Meaning::Passing),
    (1203, "ER_TOO_MANY_USER_CONNECTIONS", Meaning::Passing),
    (1206, "ER_LOCK_TABLE_FULL", Meaning::Passing),
    (1223, "ER_CANT_UPDATE_WITH_READLOCK", Meaning::Passing),
    (1226, "ER_USER_LIMIT_REACHED", Meaning::Passing),
    (1317, "ER_QUERY_INTERRUPTED", Meaning::Passing),
    (1969, "ER_STATEMENT_TIMEOUT", Meaning::Passing),
    (3024, "ER_QUERY_TIMEOUT", Meaning::Passing),
    (3100, "ER_RUN_HOOK_ERROR", Meaning::Passing),
    (9001, "TiDB: no answer of the placement driver; ProxySQL: no server", Meaning::Passing),
    (9002, "TiDB: no answer of the storage", Meaning::Passing),
    (9003, "TiDB: storage busy", Meaning::Passing),
    (9004, "TiDB: no lock resolved", Meaning::Passing),
    (9005, "TiDB: region unavailable", Meaning::Passing),
    // The server cannot be written: --read-only and the like.
    (1290, "ER_OPTION_PREVENTS_STATEMENT", Meaning::ReadOnly),
    (1836, "ER_READ_ONLY_MODE", Meaning::ReadOnly),
    (1874, "ER_INNODB_READ_ONLY", Meaning::ReadOnly),
    // The session's transaction is read-only.
    (1792, "ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION", Meaning::Ended),
    // The disk or the table space is full.
    (1021, "ER_DISK_FULL", Meaning::Full),
    (1114, "ER_RECORD_FILE_FULL", Meaning::Full),
    // Wrong password, no such user, not from this host, an unknown way to log in, an account that is shut.
    (1045, "ER_ACCESS_DENIED_ERROR", Meaning::Login),
    (1129, "ER_HOST_IS_BLOCKED", Meaning::Login),
    (1130, "ER_HOST_NOT_PRIVILEGED", Meaning::Login),
    (1251, "ER_NOT_SUPPORTED_AUTH_MODE", Meaning::Login),
    (1524, "ER_PLUGIN_IS_NOT_LOADED", Meaning::Login),
    (1698, "ER_ACCESS_DENIED_NO_PASSWORD_ERROR", Meaning::Login),
    (1820, "ER_MUST_CHANGE_PASSWORD", Meaning::Login),
    (1862, "ER_MUST_CHANGE_PASSWORD_LOGIN", Meaning::Login),
    (3118, "ER_ACCOUNT_HAS_BEEN_LOCKED", Meaning::Login),
    (3955, "ER_USER_ACCESS_DENIED_FOR_USER_ACCOUNT_BLOCKED_BY_PASSWORD_LOCK", Meaning::Login),
    (4151, "ER_ACCOUNT_HAS_BEEN_LOCKED", Meaning::Login),
    (3159, "ER_SECURE_TRANSPORT_REQUIRED", Meaning::Tls),
    (1046, "ER_NO_DB_ERROR", Meaning::Database),
    (1049, "ER_BAD_DB_ERROR", Meaning::Database),
    (1044, "ER_DBACCESS_DENIED_ERROR", Meaning::Rights),
    (1142, "ER_TABLEACCESS_DENIED_ERROR", Meaning::Rights),
    (1143, "ER_COLUMNACCESS_DENIED_ERROR", Meaning::Rights),
    (1227, "ER_SPECIFIC_ACCESS_DENIED_ERROR", Meaning::Rights),
    (1054, "ER_BAD_FIELD_ERROR", Meaning::Schema),
    (1146, "ER_NO_SUCH_TABLE", Meaning::Schema),
    (1932, "ER_NO_SUCH_TABLE_IN_ENGINE", Meaning::Schema),
    // What a server or a session is set to excludes idem's statements.
    (1175, "ER_UPDATE_WITHOUT_KEY_IN_SAFE_MODE", Meaning::Forbidden),
    (1665, "ER_BINLOG_STMT_MODE_AND_ROW_ENGINE", Meaning::Forbidden),
    // The table is damaged.
    (1034, "ER_NOT_KEYFILE", Meaning::Damaged),
    (1194, "ER_CRASHED_ON_USAGE", Meaning::Damaged),
    // One entry is the reason, mostly; the words quote it.
    (1048, "ER_BAD_NULL_ERROR", Meaning::Statement),
    (1062, "ER_DUP_ENTRY", Meaning::Statement),
    (1153, "ER_NET_PACKET_TOO_LARGE", Meaning::Statement),
    (1264, "ER_WARN_DATA_OUT_OF_RANGE", Meaning::Statement),
    (1292, "ER_TRUNCATED_WRONG_VALUE", Meaning::Statement),
    (1366, "ER_TRUNCATED_WRONG_VALUE_FOR_FIELD", Meaning::Statement),
    (1406, "ER_DATA_TOO_LONG", Meaning::Statement),
];

pub(super) fn known(error: &dyn DatabaseError) -> Known {
    let number = error.try_downcast_ref::<MySqlDatabaseError>().map(MySqlDatabaseError::number);
    let Some(number) = number else { return Known::unknown(Meaning::Statement) };
    look_up(CODES, &number).unwrap_or_else(|| Known::unknown(of_class(error.code().as_deref())))
}

/// A number that is not in the table: what its SQLSTATE says.
fn of_class(state: Option<&str>) -> Meaning {
    match state.and_then(|state| state.get(..2)) {
        // A connection's failure.
        Some("08") => Meaning::Broken,
        // A rollback for others' sake.
        Some("40") => Meaning::Conflict,
        _ => Meaning::Statement,
    }
}

pub(super) fn is_no_table(error: &sqlx::Error) -> bool {
    let database = error.as_database_error().and_then(|error| error.try_downcast_ref::<MySqlDatabaseError>());
    database.is_some_and(|error| error.number() == 1146)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sql::Sort;
    use crate::store::sql::tests::{each_code_stands_once, sort_of};

    #[test]
    fn each_number_has_one_meaning() {
        each_code_stands_once(CODES);
    }

    #[test]
    fn what_costs_no_attempt_and_what_only_a_person_ends_is_known_by_its_number() {
        for (sort, numbers) in [
            (
                Sort::AskAgain,
                &[4031, 1053, 1927, 1205, 1040, 1203, 1226, 1290, 1792, 1836, 1317, 3024, 1047][..],
            ),
            (Sort::Conflict, &[1213, 1020, 3101, 1180, 8028, 9007]),
            (Sort::Configuration, &[1045, 1049, 1142, 1146, 1175, 1665]),
            (Sort::Entry, &[1062, 1366, 1406]),
        ] {
            for number in numbers {
                assert_eq!(sort_of(CODES, number), Some(sort), "{number}");
            }
        }
        assert_eq!(of_class(Some("08S01")), Meaning::Broken);
        assert_eq!(of_class(Some("HY000")), Meaning::Statement);
    }
}

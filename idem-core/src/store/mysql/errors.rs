//! The meaning of the error numbers of MySQL and MariaDB, and of servers that speak their protocol.

use sqlx::error::DatabaseError;
use sqlx::mysql::MySqlDatabaseError;

use crate::store::sql::{Code, KnownCode, SqlErrorMeaning, look_up};

/// Sorted by meaning. From the error references of MySQL 9 and MariaDB 11; 8000 and more are those of `TiDB`, 9001 also of
/// `ProxySQL`.
const CODES: &[Code<u16>] = &[
    // The server shuts down, or has closed the connection; or the session is not what it was.
    (1043, "ER_HANDSHAKE_ERROR", SqlErrorMeaning::Broken),
    (1053, "ER_SERVER_SHUTDOWN", SqlErrorMeaning::Broken),
    (1152, "ER_ABORTING_CONNECTION", SqlErrorMeaning::Broken),
    (1156, "ER_NET_PACKETS_OUT_OF_ORDER", SqlErrorMeaning::Broken),
    (1157, "ER_NET_UNCOMPRESS_ERROR", SqlErrorMeaning::Broken),
    (1158, "ER_NET_READ_ERROR", SqlErrorMeaning::Broken),
    (1159, "ER_NET_READ_INTERRUPTED", SqlErrorMeaning::Broken),
    (1160, "ER_NET_ERROR_ON_WRITE", SqlErrorMeaning::Broken),
    (1161, "ER_NET_WRITE_INTERRUPTED", SqlErrorMeaning::Broken),
    (1184, "ER_NEW_ABORTING_CONNECTION", SqlErrorMeaning::Broken),
    (1243, "ER_UNKNOWN_STMT_HANDLER", SqlErrorMeaning::Broken),
    (1615, "ER_NEED_REPREPARE", SqlErrorMeaning::Broken),
    (1835, "ER_MALFORMED_PACKET", SqlErrorMeaning::Broken),
    (1927, "ER_CONNECTION_KILLED", SqlErrorMeaning::Broken),
    (3032, "ER_SERVER_OFFLINE_MODE", SqlErrorMeaning::Broken),
    (3169, "ER_SESSION_WAS_KILLED", SqlErrorMeaning::Broken),
    // From 8.0.24 on written into an idle connection before it is closed.
    (4031, "ER_CLIENT_INTERACTION_TIMEOUT", SqlErrorMeaning::Broken),
    // Rolled back for another transaction's sake; 1180 and 3101 by the commit, in a cluster.
    (1020, "ER_CHECKREAD", SqlErrorMeaning::Conflict),
    (1180, "ER_ERROR_DURING_COMMIT", SqlErrorMeaning::Conflict),
    (1213, "ER_LOCK_DEADLOCK", SqlErrorMeaning::Conflict),
    (1613, "ER_XA_RBTIMEOUT", SqlErrorMeaning::Conflict),
    (1614, "ER_XA_RBDEADLOCK", SqlErrorMeaning::Conflict),
    (3058, "ER_USER_LOCK_DEADLOCK", SqlErrorMeaning::Conflict),
    (3101, "ER_TRANSACTION_ROLLBACK_DURING_COMMIT", SqlErrorMeaning::Conflict),
    (8002, "TiDB: snapshot too old", SqlErrorMeaning::Conflict),
    (8005, "TiDB: write conflict in a latch", SqlErrorMeaning::Conflict),
    (8022, "TiDB: commit failed and was rolled back", SqlErrorMeaning::Conflict),
    (8028, "TiDB: schema changed", SqlErrorMeaning::Conflict),
    (9007, "TiDB: write conflict", SqlErrorMeaning::Conflict),
    // A lock that another transaction has kept for too long.
    (1205, "ER_LOCK_WAIT_TIMEOUT", SqlErrorMeaning::Locked),
    (1689, "ER_LOCK_ABORTED", SqlErrorMeaning::Locked),
    (3572, "ER_LOCK_NOWAIT", SqlErrorMeaning::Locked),
    // Not just now: too many connections, out of memory, an I/O error, a time-out, no quorum.
    (1015, "ER_CANT_LOCK", SqlErrorMeaning::Passing),
    (1023, "ER_ERROR_ON_CLOSE", SqlErrorMeaning::Passing),
    (1024, "ER_ERROR_ON_READ", SqlErrorMeaning::Passing),
    (1026, "ER_ERROR_ON_WRITE", SqlErrorMeaning::Passing),
    (1030, "ER_GET_ERRNO", SqlErrorMeaning::Passing),
    (1037, "ER_OUTOFMEMORY", SqlErrorMeaning::Passing),
    (1038, "ER_OUT_OF_SORTMEMORY", SqlErrorMeaning::Passing),
    (1040, "ER_CON_COUNT_ERROR", SqlErrorMeaning::Passing),
    (1041, "ER_OUT_OF_RESOURCES", SqlErrorMeaning::Passing),
    (1047, "ER_UNKNOWN_COM_ERROR", SqlErrorMeaning::Passing),
    (1135, "ER_CANT_CREATE_THREAD", SqlErrorMeaning::Passing),
    (1203, "ER_TOO_MANY_USER_CONNECTIONS", SqlErrorMeaning::Passing),
    (1206, "ER_LOCK_TABLE_FULL", SqlErrorMeaning::Passing),
    (1223, "ER_CANT_UPDATE_WITH_READLOCK", SqlErrorMeaning::Passing),
    (1226, "ER_USER_LIMIT_REACHED", SqlErrorMeaning::Passing),
    (1317, "ER_QUERY_INTERRUPTED", SqlErrorMeaning::Passing),
    (1969, "ER_STATEMENT_TIMEOUT", SqlErrorMeaning::Passing),
    (3024, "ER_QUERY_TIMEOUT", SqlErrorMeaning::Passing),
    (3100, "ER_RUN_HOOK_ERROR", SqlErrorMeaning::Passing),
    (9001, "TiDB: no answer of the placement driver; ProxySQL: no server", SqlErrorMeaning::Passing),
    (9002, "TiDB: no answer of the storage", SqlErrorMeaning::Passing),
    (9003, "TiDB: storage busy", SqlErrorMeaning::Passing),
    (9004, "TiDB: no lock resolved", SqlErrorMeaning::Passing),
    (9005, "TiDB: region unavailable", SqlErrorMeaning::Passing),
    // The server cannot be written: --read-only and the like.
    (1290, "ER_OPTION_PREVENTS_STATEMENT", SqlErrorMeaning::ReadOnly),
    (1836, "ER_READ_ONLY_MODE", SqlErrorMeaning::ReadOnly),
    (1874, "ER_INNODB_READ_ONLY", SqlErrorMeaning::ReadOnly),
    // The session's transaction is read-only.
    (1792, "ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION", SqlErrorMeaning::Ended),
    // The disk or the table space is full.
    (1021, "ER_DISK_FULL", SqlErrorMeaning::Full),
    (1114, "ER_RECORD_FILE_FULL", SqlErrorMeaning::Full),
    // Wrong password, no such user, not from this host, an unknown way to log in, an account that is shut.
    (1045, "ER_ACCESS_DENIED_ERROR", SqlErrorMeaning::Login),
    (1129, "ER_HOST_IS_BLOCKED", SqlErrorMeaning::Login),
    (1130, "ER_HOST_NOT_PRIVILEGED", SqlErrorMeaning::Login),
    (1251, "ER_NOT_SUPPORTED_AUTH_MODE", SqlErrorMeaning::Login),
    (1524, "ER_PLUGIN_IS_NOT_LOADED", SqlErrorMeaning::Login),
    (1698, "ER_ACCESS_DENIED_NO_PASSWORD_ERROR", SqlErrorMeaning::Login),
    (1820, "ER_MUST_CHANGE_PASSWORD", SqlErrorMeaning::Login),
    (1862, "ER_MUST_CHANGE_PASSWORD_LOGIN", SqlErrorMeaning::Login),
    (3118, "ER_ACCOUNT_HAS_BEEN_LOCKED", SqlErrorMeaning::Login),
    (3955, "ER_USER_ACCESS_DENIED_FOR_USER_ACCOUNT_BLOCKED_BY_PASSWORD_LOCK", SqlErrorMeaning::Login),
    (4151, "ER_ACCOUNT_HAS_BEEN_LOCKED", SqlErrorMeaning::Login),
    (3159, "ER_SECURE_TRANSPORT_REQUIRED", SqlErrorMeaning::Tls),
    (1046, "ER_NO_DB_ERROR", SqlErrorMeaning::Database),
    (1049, "ER_BAD_DB_ERROR", SqlErrorMeaning::Database),
    (1044, "ER_DBACCESS_DENIED_ERROR", SqlErrorMeaning::Rights),
    (1142, "ER_TABLEACCESS_DENIED_ERROR", SqlErrorMeaning::Rights),
    (1143, "ER_COLUMNACCESS_DENIED_ERROR", SqlErrorMeaning::Rights),
    (1227, "ER_SPECIFIC_ACCESS_DENIED_ERROR", SqlErrorMeaning::Rights),
    (1054, "ER_BAD_FIELD_ERROR", SqlErrorMeaning::Schema),
    (1146, "ER_NO_SUCH_TABLE", SqlErrorMeaning::Schema),
    (1932, "ER_NO_SUCH_TABLE_IN_ENGINE", SqlErrorMeaning::Schema),
    // The settings of a server or a session exclude idem's statements.
    (1175, "ER_UPDATE_WITHOUT_KEY_IN_SAFE_MODE", SqlErrorMeaning::Forbidden),
    (1665, "ER_BINLOG_STMT_MODE_AND_ROW_ENGINE", SqlErrorMeaning::Forbidden),
    // The table is damaged.
    (1034, "ER_NOT_KEYFILE", SqlErrorMeaning::Damaged),
    (1194, "ER_CRASHED_ON_USAGE", SqlErrorMeaning::Damaged),
    // One entry is the reason, mostly; the words quote it.
    (1048, "ER_BAD_NULL_ERROR", SqlErrorMeaning::Statement),
    (1062, "ER_DUP_ENTRY", SqlErrorMeaning::Statement),
    (1153, "ER_NET_PACKET_TOO_LARGE", SqlErrorMeaning::Statement),
    (1264, "ER_WARN_DATA_OUT_OF_RANGE", SqlErrorMeaning::Statement),
    (1292, "ER_TRUNCATED_WRONG_VALUE", SqlErrorMeaning::Statement),
    (1366, "ER_TRUNCATED_WRONG_VALUE_FOR_FIELD", SqlErrorMeaning::Statement),
    (1406, "ER_DATA_TOO_LONG", SqlErrorMeaning::Statement),
];

pub(super) fn known(error: &dyn DatabaseError) -> KnownCode {
    let number = error.try_downcast_ref::<MySqlDatabaseError>().map(MySqlDatabaseError::number);
    let Some(number) = number else { return KnownCode::unknown(SqlErrorMeaning::Statement) };
    look_up(CODES, &number).unwrap_or_else(|| KnownCode::unknown(of_class(error.code().as_deref())))
}

/// A number that is not in the table: what its SQLSTATE says.
fn of_class(state: Option<&str>) -> SqlErrorMeaning {
    match state.and_then(|state| state.get(..2)) {
        // A connection's failure.
        Some("08") => SqlErrorMeaning::Broken,
        // A rollback for others' sake.
        Some("40") => SqlErrorMeaning::Conflict,
        _ => SqlErrorMeaning::Statement,
    }
}

pub(super) fn is_no_table(error: &sqlx::Error) -> bool {
    let database = error.as_database_error().and_then(|error| error.try_downcast_ref::<MySqlDatabaseError>());
    database.is_some_and(|error| error.number() == 1146)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sql::ErrorSort;
    use crate::store::sql::tests::{each_code_stands_once, sort_of};

    #[test]
    fn each_number_has_one_meaning() {
        each_code_stands_once(CODES);
    }

    #[test]
    fn what_costs_no_attempt_and_what_only_a_person_ends_is_known_by_its_number() {
        for (sort, numbers) in [
            (
                ErrorSort::AskAgain,
                &[4031, 1053, 1927, 1205, 1040, 1203, 1226, 1290, 1792, 1836, 1317, 3024, 1047][..],
            ),
            (ErrorSort::Conflict, &[1213, 1020, 3101, 1180, 8028, 9007]),
            (ErrorSort::Configuration, &[1045, 1049, 1142, 1146, 1175, 1665]),
            (ErrorSort::Entry, &[1062, 1366, 1406]),
        ] {
            for number in numbers {
                assert_eq!(sort_of(CODES, number), Some(sort), "{number}");
            }
        }
        assert_eq!(of_class(Some("08S01")), SqlErrorMeaning::Broken);
        assert_eq!(of_class(Some("HY000")), SqlErrorMeaning::Statement);
    }
}

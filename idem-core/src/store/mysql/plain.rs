//! MySQL's and MariaDB's words in the statements that all databases have.

use super::dialect::MySql;
use crate::store::sql::plain::plain_dialect;

plain_dialect!(
    MySql,
    SqlSyntax {
        now: "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))",
        upsert: "ON DUPLICATE KEY UPDATE",
        long: "",
        has_partial_indexes: false,
        quote: '`',
        is_numbered: false,
    }
);

//! SQLite's words in the statements that all databases have.

use super::dialect::Sqlite;
use crate::store::sql::plain::plain_dialect;

plain_dialect!(
    Sqlite,
    SqlSyntax {
        now: "CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)",
        upsert: "ON CONFLICT (id) DO UPDATE SET",
        long: "",
        has_partial_indexes: true,
        quote: '"',
        is_numbered: false,
    }
);

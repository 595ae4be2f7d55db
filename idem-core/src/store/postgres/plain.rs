//! PostgreSQL's words in the statements that all databases have.

use super::dialect::Postgres;
use crate::store::sql::plain::plain_dialect;

plain_dialect!(
    Postgres,
    SqlSyntax {
        now: "(extract(epoch FROM statement_timestamp()) * 1000000)::bigint",
        upsert: "ON CONFLICT (id) DO UPDATE SET",
        long: "::bigint",
        has_partial_indexes: true,
        quote: '"',
        is_numbered: true,
    }
);

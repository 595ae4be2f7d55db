//! PostgreSQL.

use super::postgres_harness::Postgres;
use super::server_rules::server_tests;
use super::sql_rules::sql_tests;

idem_core::conformance_tests!(Postgres::new().await);
sql_tests!(Postgres::new().await);
server_tests!(Postgres::new().await);

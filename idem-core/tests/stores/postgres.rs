//! PostgreSQL.

use super::postgres_harness::Postgres;

idem_core::conformance_tests!(Postgres::new().await);

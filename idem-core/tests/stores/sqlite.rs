//! SQLite.

use super::sql_rules::sql_tests;
use super::sqlite_harness::Sqlite;

idem_core::conformance_tests!(Sqlite::new());
sql_tests!(Sqlite::with_tables().await);

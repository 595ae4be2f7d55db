//! SQLite.

use super::sqlite_harness::Sqlite;

idem_core::conformance_tests!(Sqlite::new());

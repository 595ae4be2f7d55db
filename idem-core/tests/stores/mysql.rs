//! MySQL and MariaDB.

use super::mysql_harness::MySql;
use super::server_rules::server_tests;
use super::sql_rules::sql_tests;

idem_core::conformance_tests!(MySql::new().await);
sql_tests!(MySql::new().await);
server_tests!(MySql::new().await);

/// The statements for MySQL, which differ in what comes back. A server of MySQL itself is tested where the environment
/// names one.
mod like_mysql {
    use super::MySql;

    idem_core::conformance_tests!(MySql::like_mysql().await);
}

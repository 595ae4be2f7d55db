//! Whether a server is fit to be a store, and which of the two it is.

use sqlx::mysql::MySqlConnection;
use sqlx::query_as;

use crate::store::StoreError;
use crate::store::sql::DurabilityRisk;

/// The first whose `INSERT .. ON DUPLICATE KEY UPDATE` returns rows is 10.5, the first with `JSON_TABLE` is 10.6.
const OLDEST_MARIADB: (u32, u32) = (10, 6);
/// The first with `JSON_TABLE`.
const OLDEST_MYSQL: (u32, u32) = (8, 0);

/// The two are not the same where it counts: only MariaDB returns the rows of an upsert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flavour {
    MySql,
    MariaDb,
}

pub(super) async fn server(on: &mut MySqlConnection, at: &str) -> sqlx::Result<Result<Flavour, StoreError>> {
    let asked = "SELECT CAST(VERSION() AS CHAR), CAST(@@global.read_only AS CHAR), CAST(@@innodb_read_only AS CHAR), \
                 CAST(IF(@@log_bin, @@binlog_format, '') AS CHAR)";
    let (version, read_only, innodb_read_only, log): (String, String, String, String) =
        query_as(asked).fetch_one(on).await?;
    let is_on = |value: &str| value != "0" && value != "OFF";
    Ok(flavour(&version, at).and_then(|flavour| {
        if is_on(&read_only) || is_on(&innodb_read_only) {
            return Err(StoreError::config(format!(
                "MySQL at {at} is read-only, a replica maybe: idem needs the server that takes writes"
            )));
        }
        if log == "STATEMENT" {
            return Err(StoreError::config(format!(
                "MySQL at {at} logs statements (binlog_format=STATEMENT), which excludes READ COMMITTED: set binlog_format \
                 to ROW or MIXED"
            )));
        }
        Ok(flavour)
    }))
}

pub(super) async fn durability_risks(on: &mut MySqlConnection) -> sqlx::Result<Vec<DurabilityRisk>> {
    let asked = "SELECT CAST(@@innodb_flush_log_at_trx_commit AS CHAR), CAST(IF(@@log_bin, @@sync_binlog, 1) AS CHAR)";
    let (flush, binlog): (String, String) = query_as(asked).fetch_one(on).await?;
    let durability_risks = [
        // 3 is MariaDB's, and no less than 1.
        DurabilityRisk::unless(
            "innodb_flush_log_at_trx_commit",
            &flush,
            &["1", "3"],
            "a crash takes back the commits of the last second (0: of the server, 2: of its machine), and what they were about \
             is done again: set it to 1",
        ),
        DurabilityRisk::unless(
            "sync_binlog",
            &binlog,
            &["1"],
            "a crash of its machine takes back commits from the binary log, so that a replica which takes over does not have \
             them: set it to 1",
        ),
    ];
    Ok(durability_risks.into_iter().flatten().collect())
}

fn flavour(version: &str, at: &str) -> Result<Flavour, StoreError> {
    let mut numbers = version.split(['.', '-']).map(|number| number.parse().unwrap_or(0));
    let found = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let (flavour, name, oldest) = if version.contains("MariaDB") {
        (Flavour::MariaDb, "MariaDB", OLDEST_MARIADB)
    } else {
        (Flavour::MySql, "MySQL", OLDEST_MYSQL)
    };
    if found >= oldest {
        return Ok(flavour);
    }
    Err(StoreError::config(format!(
        "{name} at {at} has version `{version}`; idem needs MariaDB {}.{} or MySQL {}.{}, or later",
        OLDEST_MARIADB.0, OLDEST_MARIADB.1, OLDEST_MYSQL.0, OLDEST_MYSQL.1
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mariadb_from_10_6_and_mysql_from_8_pass() {
        for good in ["10.6.0-MariaDB", "10.11.19-MariaDB-0+deb12u1", "11.4.2-MariaDB-log", "12.0.1-MariaDB"] {
            assert_eq!(flavour(good, "host:1").unwrap(), Flavour::MariaDb);
        }
        for good in ["8.0.36", "8.4.0-commercial", "9.1.0"] {
            assert_eq!(flavour(good, "host:1").unwrap(), Flavour::MySql);
        }
        for bad in ["5.7.44", "10.5.9-MariaDB", "", "x"] {
            let error = flavour(bad, "host:1").unwrap_err();
            assert!(error.is_config() && error.to_string().contains("host:1"), "{error}");
        }
    }
}

//! Whether a server is fit to be a store.

use sqlx::postgres::PgConnection;
use sqlx::query_as;

use crate::store::StoreError;
use crate::store::sql::DurabilityRisk;

/// The first with `plan_cache_mode`.
const OLDEST: i32 = 120_000;

pub(super) async fn server(on: &mut PgConnection, at: &str) -> sqlx::Result<Result<(), StoreError>> {
    let asked = "SELECT current_setting('server_version_num')::int, current_setting('server_version'), \
                 pg_is_in_recovery() OR current_setting('transaction_read_only')::bool";
    let (number, version, read_only): (i32, String, bool) = query_as(asked).fetch_one(on).await?;
    Ok(fit(number, &version, at).and_then(|()| {
        if read_only {
            return Err(StoreError::config(format!(
                "PostgreSQL at {at} is read-only, a standby maybe: idem needs the server that takes writes"
            )));
        }
        Ok(())
    }))
}

/// As the session has them, because a role or a database can have its own.
pub(super) async fn durability_risks(on: &mut PgConnection) -> sqlx::Result<Vec<DurabilityRisk>> {
    let asked = "SELECT current_setting('synchronous_commit'), current_setting('fsync'), \
                 current_setting('full_page_writes')";
    let (commit, fsync, pages): (String, String, String) = query_as(asked).fetch_one(on).await?;
    let durability_risks = [
        DurabilityRisk::unless(
            "synchronous_commit",
            &commit,
            &["on", "local", "remote_write", "remote_apply"],
            "a crash of the server takes back the commits of its last moments, and what they were about is done again: set it \
             to `on` for this user",
        ),
        DurabilityRisk::unless(
            "fsync",
            &fsync,
            &["on"],
            "a crash of its machine takes back commits of any age, or damages the tables: set it to `on`",
        ),
        DurabilityRisk::unless(
            "full_page_writes",
            &pages,
            &["on"],
            "a crash of its machine while a page is written can damage the tables: set it to `on`, unless the file system \
             writes whole pages or none",
        ),
    ];
    Ok(durability_risks.into_iter().flatten().collect())
}

fn fit(number: i32, version: &str, at: &str) -> Result<(), StoreError> {
    if number >= OLDEST {
        return Ok(());
    }
    Err(StoreError::config(format!(
        "PostgreSQL at {at} has version {version}; idem needs {} or later",
        OLDEST / 10_000
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_from_12_pass() {
        for (number, version) in
            [(120_000, "12.0"), (150_018, "15.18 (Debian 15.18-0+deb12u1)"), (180_001, "18.1")]
        {
            fit(number, version, "host:1").unwrap();
        }
        for (number, version) in [(110_022, "11.22"), (90_624, "9.6.24")] {
            let error = fit(number, version, "host:1").unwrap_err();
            let text = format!("PostgreSQL at host:1 has version {version}; idem needs 12 or later");
            assert!(error.is_config() && error.to_string() == text, "{error}");
        }
    }
}

//! Whether a server is fit to be a store.

use sqlx::postgres::PgConnection;
use sqlx::query_as;

use crate::store::StoreError;

/// The first with `plan_cache_mode`.
const OLDEST: i32 = 120_000;

pub(super) async fn server(on: &mut PgConnection, at: &str) -> sqlx::Result<Result<(), StoreError>> {
    let asked = "SELECT current_setting('server_version_num')::int, current_setting('server_version'), \
                 pg_is_in_recovery() OR current_setting('transaction_read_only')::bool";
    let (number, version, read_only): (i32, String, bool) = query_as(asked).fetch_one(on).await?;
    Ok(if number < OLDEST {
        Err(StoreError::config(format!(
            "PostgreSQL at {at} has version {version}; idem needs {} or later",
            OLDEST / 10_000
        )))
    } else if read_only {
        Err(StoreError::config(format!(
            "PostgreSQL at {at} is read-only, a standby maybe: idem needs the server that takes writes"
        )))
    } else {
        Ok(())
    })
}

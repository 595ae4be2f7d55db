//! The schema's version: found, compared, brought up to date.

use super::dialect::{Connection, Reply, StoreDialect};
use super::link::{ConnectionWork, SqlLink};
use super::names::Names;
use crate::store::StoreError;

/// How long migrations may take, as they may have to wait for another member's.
const MIGRATE: std::time::Duration = std::time::Duration::from_mins(10);

/// Refuses a schema that the statements are not for. One that is missing is made where `creates` says so.
pub(super) async fn check<D: StoreDialect>(
    link: &SqlLink<D>,
    names: &Names,
    creates: bool,
) -> Result<(), StoreError> {
    match link.call(&SchemaVersion).await? {
        Some(version) if version == wanted(link) => Ok(()),
        None if creates => migrate(link).await,
        found => Err(unfit(link, names, found)),
    }
}

fn wanted<D: StoreDialect>(link: &SqlLink<D>) -> i64 {
    i64::try_from(link.dialect.migrations().len()).unwrap_or(i64::MAX)
}

fn unfit<D: StoreDialect>(link: &SqlLink<D>, names: &Names, found: Option<i64>) -> StoreError {
    let (at, table) = (&link.name, names.shown());
    let problem = match found {
        None => format!("{} at {at} has no table `{table}` of idem's", D::TITLE),
        Some(found) => format!(
            "the tables `{table}` in {} at {at} have version {found}, and this version of idem needs {}",
            D::TITLE,
            wanted(link)
        ),
    };
    let remedy = if found > Some(wanted(link)) {
        "upgrade this process, which is older than the one that migrated the tables".to_owned()
    } else {
        format!(
            "run `.migrate().await` of its builder once, as a user that may create tables, or the SQL that \
             `.migrations()` gives (the files in idem-core/src/store/{}/migrations)",
            D::NAME
        )
    };
    StoreError::config(format!("{problem}: {remedy}"))
}

struct SchemaVersion;

impl<D: StoreDialect> ConnectionWork<D> for SchemaVersion {
    type Output = Option<i64>;

    fn run(&self, dialect: &D, on: &mut Connection<D>) -> impl Reply<Self::Output> {
        dialect.schema(on)
    }
}

/// Runs what is missing.
pub(super) async fn migrate<D: StoreDialect>(link: &SqlLink<D>) -> Result<(), StoreError> {
    link.call_within(MIGRATE, &Migration).await
}

struct Migration;

impl<D: StoreDialect> ConnectionWork<D> for Migration {
    type Output = ();

    fn run(&self, dialect: &D, on: &mut Connection<D>) -> impl Reply<()> {
        dialect.migrate(on)
    }
}

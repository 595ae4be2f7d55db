//! Statements over a batch, and upserts that say how the rows are afterwards.

use sqlx::mysql::{MySqlArguments, MySqlConnection, MySqlRow};
use sqlx::query::Query;
use sqlx::{FromRow, query};

use super::check::Flavour;
use crate::store::sql::{BatchEntry, BatchRequest, Names, Shapes};

/// An upsert, as MySQL has it, and as MariaDB does, which returns the rows as they are afterwards.
pub(super) struct Upsert {
    plain: Shapes,
    returning: Shapes,
}

impl Upsert {
    pub(super) fn new(names: &Names, upsert: &str, returning: &str) -> Self {
        Self {
            plain: Shapes::new(names, upsert),
            returning: Shapes::new(names, &format!("{upsert}{returning}")),
        }
    }

    /// One statement on MariaDB, two on MySQL.
    pub(super) async fn run<R: BatchRequest>(
        &self,
        flavour: Flavour,
        on: &mut MySqlConnection,
        batch: &[BatchEntry<R>],
        bind: impl Fn(MySqlQuery, &R) -> MySqlQuery,
        read: &Shapes,
    ) -> sqlx::Result<Vec<R::Found>>
    where
        R::Found: for<'r> FromRow<'r, MySqlRow> + Unpin,
    {
        let shapes = match flavour {
            Flavour::MariaDb => &self.returning,
            Flavour::MySql => &self.plain,
        };
        let (statement, entries) = shapes.fit(batch);
        let write = entries
            .fold(query(statement), |bound, entry| bind(bound.bind(entry.key.clone()), &entry.request));
        match flavour {
            Flavour::MariaDb => fetch::<R>(on, write).await,
            Flavour::MySql => {
                write.execute(&mut *on).await?;
                fetch::<R>(on, by_keys(read, batch)).await
            }
        }
    }
}

pub(super) type MySqlQuery = Query<'static, sqlx::MySql, MySqlArguments>;

pub(super) fn by_keys<R>(shapes: &Shapes, batch: &[BatchEntry<R>]) -> MySqlQuery {
    let (statement, entries) = shapes.fit(batch);
    entries.fold(query(statement), |bound, entry| bound.bind(entry.key.clone()))
}

pub(super) async fn fetch<R: BatchRequest>(
    on: &mut MySqlConnection,
    bound: MySqlQuery,
) -> sqlx::Result<Vec<R::Found>>
where
    R::Found: for<'r> FromRow<'r, MySqlRow> + Unpin,
{
    let rows = bound.fetch_all(on).await?;
    rows.iter().map(R::Found::from_row).collect()
}

//! Statements that are few and seldom, and the same for all databases but for some words: each is a text and its values.

mod syntax;
mod value;

use sqlx::SqlStr;

pub(in crate::store) use self::syntax::{IDS, SqlSyntax, statements};
pub(in crate::store) use self::value::{StatementValue, with_ids};
use super::dialect::{Connection, Reply, StoreDialect};
use super::found::RecordRow;
use super::link::ConnectionWork;
use super::outbox::MessageRow;
use super::registry::{MemberRow, TrailRow};

/// A dialect that runs them.
pub(in crate::store) trait PlainDialect: StoreDialect {
    const SYNTAX: SqlSyntax;

    /// How many rows the statement changed.
    fn execute(on: &mut Connection<Self>, statement: &SqlStr, values: &[StatementValue]) -> impl Reply<u64>;
    fn numbers(
        on: &mut Connection<Self>,
        statement: &SqlStr,
        values: &[StatementValue],
    ) -> impl Reply<Vec<i64>>;
    fn blobs(
        on: &mut Connection<Self>,
        statement: &SqlStr,
        values: &[StatementValue],
    ) -> impl Reply<Vec<Option<Vec<u8>>>>;
    fn messages(
        on: &mut Connection<Self>,
        statement: &SqlStr,
        values: &[StatementValue],
    ) -> impl Reply<Vec<MessageRow>>;
    fn records(
        on: &mut Connection<Self>,
        statement: &SqlStr,
        values: &[StatementValue],
    ) -> impl Reply<Vec<RecordRow>>;
    fn members(
        on: &mut Connection<Self>,
        statement: &SqlStr,
        values: &[StatementValue],
    ) -> impl Reply<Vec<MemberRow>>;
    fn trail(
        on: &mut Connection<Self>,
        statement: &SqlStr,
        values: &[StatementValue],
    ) -> impl Reply<Vec<TrailRow>>;
}

macro_rules! works {
    ($($work:ident: $method:ident -> $output:ty;)*) => {$(
        pub(in crate::store) struct $work<'a> {
            pub(in crate::store) statement: &'a SqlStr,
            pub(in crate::store) values: &'a [StatementValue],
        }

        impl<D: PlainDialect> ConnectionWork<D> for $work<'_> {
            type Output = $output;

            fn run(&self, _: &D, on: &mut Connection<D>) -> impl Reply<Self::Output> {
                D::$method(on, self.statement, self.values)
            }
        }
    )*};
}

works! {
    Execute: execute -> u64;
    Numbers: numbers -> Vec<i64>;
    Blobs: blobs -> Vec<Option<Vec<u8>>>;
    Messages: messages -> Vec<MessageRow>;
    Listed: records -> Vec<RecordRow>;
    Members: members -> Vec<MemberRow>;
    Trail: trail -> Vec<TrailRow>;
}

/// Makes a dialect one that runs them: the words are the same, but each database has types of its own for them.
macro_rules! plain_dialect {
    ($dialect:ty, $syntax:expr) => {
        const _: () = {
            use $crate::store::sql::outbox::MessageRow;
            use $crate::store::sql::plain::{PlainDialect, SqlSyntax, StatementValue};
            use $crate::store::sql::{Connection, MemberRow, RecordRow, StoreDialect, TrailRow};

            type Db = <$dialect as StoreDialect>::Db;
            type On = Connection<$dialect>;
            type Arguments = <Db as ::sqlx::Database>::Arguments;

            fn bound(
                statement: &::sqlx::SqlStr,
                values: &[StatementValue],
            ) -> ::sqlx::query::Query<'static, Db, Arguments> {
                values.iter().fold(::sqlx::query(statement.clone()), |query, value| match value {
                    StatementValue::Number(number) => query.bind(*number),
                    StatementValue::Text(text) => query.bind(text.clone()),
                    StatementValue::Bytes(bytes) => query.bind(bytes.clone()),
                })
            }

            async fn fetch<R>(
                on: &mut On,
                statement: &::sqlx::SqlStr,
                values: &[StatementValue],
            ) -> ::sqlx::Result<Vec<R>>
            where
                R: for<'r> ::sqlx::FromRow<'r, <Db as ::sqlx::Database>::Row>,
            {
                let rows = bound(statement, values).fetch_all(on).await?;
                rows.iter().map(R::from_row).collect()
            }

            impl PlainDialect for $dialect {
                const SYNTAX: SqlSyntax = $syntax;

                async fn execute(
                    on: &mut On,
                    statement: &::sqlx::SqlStr,
                    values: &[StatementValue],
                ) -> ::sqlx::Result<u64> {
                    Ok(bound(statement, values).execute(on).await?.rows_affected())
                }

                async fn numbers(
                    on: &mut On,
                    statement: &::sqlx::SqlStr,
                    values: &[StatementValue],
                ) -> ::sqlx::Result<Vec<i64>> {
                    let rows: Vec<(i64,)> = fetch(on, statement, values).await?;
                    Ok(rows.into_iter().map(|(number,)| number).collect())
                }

                async fn blobs(
                    on: &mut On,
                    statement: &::sqlx::SqlStr,
                    values: &[StatementValue],
                ) -> ::sqlx::Result<Vec<Option<Vec<u8>>>> {
                    let rows: Vec<(Option<Vec<u8>>,)> = fetch(on, statement, values).await?;
                    Ok(rows.into_iter().map(|(blob,)| blob).collect())
                }

                async fn messages(
                    on: &mut On,
                    statement: &::sqlx::SqlStr,
                    values: &[StatementValue],
                ) -> ::sqlx::Result<Vec<MessageRow>> {
                    let rows = fetch(on, statement, values).await?;
                    Ok(rows.into_iter().map(MessageRow).collect())
                }

                async fn records(
                    on: &mut On,
                    statement: &::sqlx::SqlStr,
                    values: &[StatementValue],
                ) -> ::sqlx::Result<Vec<RecordRow>> {
                    fetch(on, statement, values).await
                }

                async fn members(
                    on: &mut On,
                    statement: &::sqlx::SqlStr,
                    values: &[StatementValue],
                ) -> ::sqlx::Result<Vec<MemberRow>> {
                    let rows = fetch(on, statement, values).await?;
                    Ok(rows.into_iter().map(MemberRow).collect())
                }

                async fn trail(
                    on: &mut On,
                    statement: &::sqlx::SqlStr,
                    values: &[StatementValue],
                ) -> ::sqlx::Result<Vec<TrailRow>> {
                    let rows = fetch(on, statement, values).await?;
                    Ok(rows.into_iter().map(TrailRow).collect())
                }
            }
        };
    };
}

pub(in crate::store) use plain_dialect;

//! How statements of an outbox are sent. They are few and seldom, so each is a text and its values.

use sqlx::SqlStr;

use super::message::MessageRow;
use super::statements::OutboxSyntax;
use super::value::StatementValue;
use crate::store::sql::dialect::{Connection, Reply, StoreDialect};
use crate::store::sql::link::ConnectionWork;

/// A dialect with outboxes.
pub(in crate::store) trait OutboxDialect: StoreDialect {
    const SYNTAX: OutboxSyntax;

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
}

macro_rules! works {
    ($($work:ident: $method:ident -> $output:ty;)*) => {$(
        pub(super) struct $work<'a> {
            pub(super) statement: &'a SqlStr,
            pub(super) values: &'a [StatementValue],
        }

        impl<D: OutboxDialect> ConnectionWork<D> for $work<'_> {
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
}

/// Makes an outbox's dialect of a store's: the words are the same, but each database has types of its own for them.
macro_rules! outbox_dialect {
    ($dialect:ty, $syntax:expr) => {
        const _: () = {
            use $crate::store::sql::outbox::{MessageRow, OutboxDialect, OutboxSyntax, StatementValue};
            use $crate::store::sql::{Connection, StoreDialect};

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

            impl OutboxDialect for $dialect {
                const SYNTAX: OutboxSyntax = $syntax;

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
            }
        };
    };
}

pub(in crate::store) use outbox_dialect;

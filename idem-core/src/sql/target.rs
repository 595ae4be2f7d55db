//! The targets that a statement can run on.

use std::ops::{Deref, DerefMut};

use futures_util::future::BoxFuture;
use sqlx::pool::PoolConnection;
use sqlx::{Database, Pool, Transaction};

use super::Dialect;

/// The target of a guard: `&pool`, `&mut connection`, or `&mut tx` of sqlx.
#[diagnostic::on_unimplemented(
    message = "a guard cannot run on `{Self}`",
    label = "pass `&mut tx`, `&mut *connection` or `&pool`",
    note = "it runs on sqlx's `&mut Transaction`, `&mut PgConnection` and the like, `&mut PoolConnection` and `&Pool`, each with its feature: `postgres`, `mysql` or `sqlite`"
)]
pub trait Target<'c>: Sealed<'c> {}

/// A [`Target`] on which a row lock outlives its statement: all but a pool.
#[diagnostic::on_unimplemented(
    message = "a row lock on `{Self}` would end with its statement",
    label = "pass `&mut tx`",
    note = "a row lock lasts as long as its transaction: begin one, and pass `&mut tx` or the connection that it is on"
)]
pub trait InTransaction<'c>: Target<'c> {}

/// Keeps others from implementing [`Target`].
pub trait Sealed<'c>: Send + Sized {
    /// The database that answers.
    type Database: Dialect;

    /// The connection to run on.
    fn connection(self) -> BoxFuture<'c, sqlx::Result<GuardConnection<'c, Self::Database>>>;
}

/// A connection of one's own, or one that is lent.
pub enum GuardConnection<'c, DB: Dialect> {
    /// Taken from a pool.
    Pooled(PoolConnection<DB>),
    /// The caller's.
    Lent(&'c mut DB::Connection),
}

impl<DB: Dialect> Deref for GuardConnection<'_, DB> {
    type Target = DB::Connection;

    fn deref(&self) -> &DB::Connection {
        match self {
            Self::Pooled(connection) => connection,
            Self::Lent(connection) => connection,
        }
    }
}

impl<DB: Dialect> DerefMut for GuardConnection<'_, DB> {
    fn deref_mut(&mut self) -> &mut DB::Connection {
        match self {
            Self::Pooled(connection) => connection,
            Self::Lent(connection) => connection,
        }
    }
}

impl<'c, DB: Dialect> Sealed<'c> for &'c Pool<DB> {
    type Database = DB;

    fn connection(self) -> BoxFuture<'c, sqlx::Result<GuardConnection<'c, DB>>> {
        Box::pin(async move { Ok(GuardConnection::Pooled(self.acquire().await?)) })
    }
}

impl<'c, DB: Dialect> Target<'c> for &'c Pool<DB> {}

macro_rules! lent {
    ([$($parameters:tt)*] $target:ty, $database:ty) => {
        impl<'c, $($parameters)*> Sealed<'c> for &'c mut $target {
            type Database = $database;

            fn connection(self) -> BoxFuture<'c, sqlx::Result<GuardConnection<'c, $database>>> {
                let lent: &'c mut <$database as Database>::Connection = self;
                Box::pin(std::future::ready(Ok(GuardConnection::Lent(lent))))
            }
        }

        impl<'c, $($parameters)*> Target<'c> for &'c mut $target {}

        impl<'c, $($parameters)*> InTransaction<'c> for &'c mut $target {}
    };
}

lent!([DB: Dialect] Transaction<'_, DB>, DB);
lent!([DB: Dialect] PoolConnection<DB>, DB);
#[cfg(feature = "postgres")]
lent!([] sqlx::PgConnection, sqlx::Postgres);
#[cfg(feature = "mysql")]
lent!([] sqlx::MySqlConnection, sqlx::MySql);
#[cfg(feature = "sqlite")]
lent!([] sqlx::SqliteConnection, sqlx::Sqlite);

//! The code that the SQL stores share: all but their statements.
//!
//! A [`StoreDialect`] has the statements of one database; its folder stands beside this one.

mod batch;
mod builder;
mod codes;
mod dialect;
mod durability;
mod entry;
mod errors;
mod found;
mod key;
mod link;
mod list;
mod meaning;
mod names;
pub(in crate::store) mod outbox;
pub(in crate::store) mod plain;
mod pooled;
mod purge;
mod registry;
mod schema;
mod shape;
#[cfg(test)]
pub(super) mod tests;
mod transactions;

use std::sync::Arc;
use std::time::Duration;

pub(super) use self::batch::BatchRequest;
pub(super) use self::builder::{SqlSettings, builder_methods};
pub(super) use self::codes::{Code, KnownCode, look_up};
pub(super) use self::dialect::{Connection, DurabilityRisk, PurgedRange, StoreDialect};
pub(super) use self::entry::BatchEntry;
pub(super) use self::errors::meaning;
pub(super) use self::found::{IN_PROGRESS, KeyRow, RELEASED, RecordRow, RowAnswer, doubt, ended, last};
pub(super) use self::link::ConnectionSource;
use self::link::{ConnectionWork, SqlLink};
pub(super) use self::meaning::SqlErrorMeaning;
pub(super) use self::names::Names;
pub use self::purge::Purge;
pub(super) use self::registry::{MemberRow, SqlRegistry, TrailRow};
pub(super) use self::shape::Shapes;
use self::transactions::HandlerConnections;
use self::transactions::SqlTransactions;
#[cfg(test)]
pub(super) use self::{errors::store_error, meaning::ErrorSort};
use super::remote::on_runtime;
use super::{Answers, Incarnation, StoreError, Transactions};
use crate::clock::LONGEST;
use crate::key::RecordKey;
use crate::record::{Record, Token};

/// The state behind a SQL store's public type.
pub(super) struct SqlStoreCore<D: StoreDialect> {
    link: SqlLink<D>,
    names: Names,
    handlers: HandlerConnections<D>,
    foreign: Option<Arc<dyn Transactions>>,
}

impl<D: StoreDialect> SqlStoreCore<D> {
    pub(super) fn connections(&self) -> u32 {
        self.link.connections()
    }

    pub(super) fn shares_connections(&self) -> bool {
        matches!(self.link.source(), ConnectionSource::Pool(_))
    }

    /// The transactions of handlers.
    pub(super) fn transactions(self: &Arc<Self>) -> Arc<dyn Transactions> {
        self.foreign.clone().unwrap_or_else(|| Arc::new(SqlTransactions(self.clone())))
    }

    /// For `Debug`: where the database is, and the table's name.
    pub(super) fn shown(&self) -> (&str, String) {
        (&self.link.name, self.names.shown())
    }

    pub(super) async fn batch<R: BatchRequest>(self: &Arc<Self>, batch: &[R]) -> Answers<R::Answer> {
        let (core, batch) = (Arc::clone(self), batch.to_vec());
        on_runtime(async move { core.link.in_time(batch::run(&core.link, batch)).await }).await?
    }

    pub(super) async fn read(self: &Arc<Self>, key: &RecordKey) -> Result<Option<Record>, StoreError> {
        let (core, key) = (Arc::clone(self), RecordRead(key::stored(key)));
        let found = on_runtime(async move { core.link.call(&key).await }).await??;
        found.map(RecordRow::record).transpose().map_err(StoreError::record)
    }

    pub(super) async fn incarnation(self: &Arc<Self>) -> Result<Incarnation, StoreError> {
        let core = Arc::clone(self);
        let identity = on_runtime(async move { core.link.call(&IdentityQuery).await }).await??;
        Ok(Incarnation::of(format!("{} {} {identity}", D::NAME, self.names.shown())))
    }

    pub(super) fn interruptions(&self) -> u64 {
        self.link.interruptions()
    }

    pub(super) async fn new_epoch(self: &Arc<Self>) -> Result<(), StoreError> {
        let core = Arc::clone(self);
        on_runtime(async move { core.link.call(&NewEpoch).await }).await?
    }

    pub(super) async fn remove(
        self: &Arc<Self>,
        key: &RecordKey,
        claim: Option<Token>,
    ) -> Result<bool, StoreError> {
        let core = Arc::clone(self);
        let removal = RecordRemoval { key: key::stored(key), claim: claim.map(Token::to_bytes) };
        let removed = on_runtime(async move { core.link.call(&removal).await }).await??;
        if !removed {
            // A record that is still there is another claim's, or not understood.
            self.read(key).await?;
        }
        Ok(removed)
    }
}

/// A duration as the statements have it, bounded so that sums of a few and a clock do not overflow.
pub(super) fn micros(time: Duration) -> i64 {
    i64::try_from(time.min(LONGEST).as_micros()).unwrap_or(i64::MAX)
}

struct RecordRead(Vec<u8>);

impl<D: StoreDialect> ConnectionWork<D> for RecordRead {
    type Output = Option<RecordRow>;

    fn run(&self, dialect: &D, on: &mut Connection<D>) -> impl dialect::Reply<Self::Output> {
        dialect.read(on, &self.0)
    }
}

struct IdentityQuery;

impl<D: StoreDialect> ConnectionWork<D> for IdentityQuery {
    type Output = String;

    fn run(&self, dialect: &D, on: &mut Connection<D>) -> impl dialect::Reply<String> {
        dialect.identity(on)
    }
}

struct NewEpoch;

impl<D: StoreDialect> ConnectionWork<D> for NewEpoch {
    type Output = ();

    fn run(&self, dialect: &D, on: &mut Connection<D>) -> impl dialect::Reply<()> {
        dialect.new_epoch(on)
    }
}

struct RecordRemoval {
    key: Vec<u8>,
    claim: Option<[u8; 16]>,
}

impl<D: StoreDialect> ConnectionWork<D> for RecordRemoval {
    type Output = bool;

    fn run(&self, dialect: &D, on: &mut Connection<D>) -> impl dialect::Reply<Self::Output> {
        dialect.remove(on, &self.key, self.claim.as_ref().map(<[u8; 16]>::as_slice))
    }
}

/// The public type of a dialect's store, as it is a [`Store`](super::Store).
macro_rules! sql_store {
    ($store:ident, $dialect:ident) => {
        impl $store {
            /// Says that the database has been put back to an older state, so that no cache in front of it counts any more
            /// ([`TieredStore`](crate::TieredStore)): to be called after a restore, before consumers go on.
            ///
            /// # Errors
            /// The database does not answer.
            pub async fn new_epoch(&self) -> Result<(), $crate::StoreError> {
                self.0.new_epoch().await
            }
        }

        impl ::std::fmt::Debug for $store {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                let (at, table) = self.0.shown();
                f.debug_struct(stringify!($store))
                    .field("at", &at)
                    .field("table", &table)
                    .finish_non_exhaustive()
            }
        }

        impl $crate::store::Store for $store {
            fn name(&self) -> &'static str {
                <$dialect as $crate::store::sql::StoreDialect>::NAME
            }

            fn connections(&self) -> Option<u32> {
                Some(self.0.connections())
            }

            fn shares_connections(&self) -> bool {
                self.0.shares_connections()
            }

            fn incarnation(
                &self,
            ) -> ::futures_util::future::BoxFuture<'_, Result<$crate::store::Incarnation, $crate::StoreError>>
            {
                Box::pin(self.0.incarnation())
            }

            fn interruptions(&self) -> u64 {
                self.0.interruptions()
            }

            fn transactions(&self) -> Option<::std::sync::Arc<dyn $crate::store::Transactions>> {
                Some(self.0.transactions())
            }

            $crate::store::sql::batches! {
                claim(ClaimRequest) -> Claim;
                renew(RenewRequest) -> Answer;
                complete(CompleteRequest) -> Answer;
                release(ReleaseRequest) -> Answer;
            }

            fn read<'a>(
                &'a self,
                key: &'a $crate::RecordKey,
            ) -> ::futures_util::future::BoxFuture<'a, Result<Option<$crate::Record>, $crate::StoreError>>
            {
                Box::pin(self.0.read(key))
            }

            fn remove<'a>(
                &'a self,
                key: &'a $crate::RecordKey,
                claim: Option<$crate::Token>,
            ) -> ::futures_util::future::BoxFuture<'a, Result<bool, $crate::StoreError>> {
                Box::pin(self.0.remove(key, claim))
            }

            fn list<'a>(
                &'a self,
                filter: &'a $crate::store::RecordFilter,
                page: &'a $crate::store::PageRequest,
            ) -> ::futures_util::future::BoxFuture<'a, Result<$crate::store::RecordPage, $crate::StoreError>>
            {
                Box::pin(self.0.list(filter, page))
            }

            fn registry(&self) -> Option<::std::sync::Arc<dyn $crate::store::Registry>> {
                Some(::std::sync::Arc::new($crate::store::sql::SqlRegistry(self.0.clone())))
            }
        }
    };
}

macro_rules! batches {
    ($($operation:ident($request:ident) -> $answer:ident;)*) => {$(
        fn $operation<'a>(
            &'a self,
            batch: &'a [$crate::store::$request],
        ) -> ::futures_util::future::BoxFuture<'a, $crate::store::Answers<$crate::store::$answer>> {
            Box::pin(self.0.batch(batch))
        }
    )*};
}

pub(super) use {batches, sql_store};

//! The outbox on SQLite, which has one writer at a time.
//!
//! Run alone: `cargo test -p idem-core --features conformance,sqlite --test stores -- outbox::sqlite::`

use std::sync::Arc;

use idem_core::outbox::{Outbox, TypedOutbox as _};
use idem_core::{SqliteOutbox, StoreError};

use crate::support::shop::{Options, Shop, with_options};
use crate::support::sqlite::Sqlite;

impl Shop for Sqlite {
    async fn outbox(&self, options: Options) -> Result<Arc<dyn Outbox>, StoreError> {
        Ok(with_options!(SqliteOutbox::builder(self.path()), options).open().await?.outbox())
    }

    async fn migrate(&self, table: &'static str) -> Result<(), StoreError> {
        SqliteOutbox::builder(self.path()).table(table).migrate().await
    }

    async fn run(&self, sql: &str) {
        self.execute(sql).await;
    }

    async fn count(&self, sql: &str) -> i64 {
        self.number(sql).await
    }
}

super::outbox_tests!(Sqlite);

//! Redis as the cache in front of PostgreSQL keeps the contract.
//!
//! Run alone: `cargo test -p idem-core --all-features --test stores -- tiered::redis_before_postgres::`

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use idem_core::store::Store;
use idem_core::store::conformance::Harness;
use idem_core::{RecordKey, RedisStore, TieredStore};

use crate::support::postgres::Postgres;
use crate::support::redis::single_url;
use crate::support::sql::unique_name;

struct InRedis(Postgres);

impl Harness for InRedis {
    fn store(&self) -> BoxFuture<'_, Arc<dyn Store>> {
        Box::pin(async {
            let cache = RedisStore::builder(single_url()).key_prefix(unique_name()).connect().await.unwrap();
            let store = TieredStore::new(cache, self.0.connect().await).await.unwrap();
            Arc::new(store) as Arc<dyn Store>
        })
    }

    fn pass(&self, time: Duration) -> BoxFuture<'_, ()> {
        self.0.pass(time)
    }

    fn plant<'a>(&'a self, key: &'a RecordKey, bytes: &'a [u8]) -> BoxFuture<'a, bool> {
        self.0.plant(key, bytes)
    }

    fn raw<'a>(&'a self, key: &'a RecordKey) -> BoxFuture<'a, Option<Vec<u8>>> {
        self.0.raw(key)
    }
}

idem_core::conformance_tests!(InRedis(Postgres::new().await));

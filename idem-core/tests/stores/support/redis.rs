//! The conformance harness of every kind of Redis, and where the tests' servers are.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use idem_core::store::conformance::Harness;
use idem_core::store::{RedisStoreBuilder, Store};
use idem_core::{RecordKey, RedisStore};
use redis::cluster::ClusterClient;
use redis::{Client, RedisResult, Value};

use crate::support::variable;

pub(crate) fn single_url() -> String {
    variable("IDEM_TEST_REDIS_URL")
}

pub(crate) fn cluster_urls() -> Vec<String> {
    list("IDEM_TEST_REDIS_CLUSTER")
}

pub(crate) fn sentinel_urls() -> Vec<String> {
    list("IDEM_TEST_REDIS_SENTINEL")
}

pub(crate) fn sentinel_master() -> String {
    std::env::var("IDEM_TEST_REDIS_MASTER").unwrap_or_else(|_| "idem".to_owned())
}

fn list(name: &str) -> Vec<String> {
    variable(name).split(',').map(str::to_owned).collect()
}

/// A connection beside the store's.
#[expect(clippy::large_enum_variant, reason = "there is one of them in a test")]
pub(crate) enum Raw {
    Server(Client),
    Cluster(ClusterClient),
}

impl Raw {
    pub(crate) async fn query(&self, command: &redis::Cmd) -> RedisResult<Value> {
        match self {
            Self::Server(client) => {
                command.query_async(&mut client.get_multiplexed_async_connection().await?).await
            }
            Self::Cluster(client) => command.query_async(&mut client.get_async_connection().await?).await,
        }
    }
}

pub(crate) struct Harnessed {
    pub(crate) builder: RedisStoreBuilder,
    pub(crate) raw: Raw,
}

impl Harnessed {
    pub(crate) fn single() -> Self {
        let url = single_url();
        let raw = Raw::Server(Client::open(url.as_str()).unwrap());
        Self { builder: RedisStore::builder(url), raw }
    }

    pub(crate) fn cluster() -> Self {
        let urls = cluster_urls();
        let raw = Raw::Cluster(ClusterClient::new(urls.clone()).unwrap());
        Self { builder: RedisStore::cluster(urls), raw }
    }

    pub(crate) async fn sentinel() -> Self {
        let sentinel = Client::open(sentinel_urls()[0].as_str()).unwrap();
        let mut sentinel = sentinel.get_multiplexed_async_connection().await.unwrap();
        let mut ask = redis::cmd("SENTINEL");
        ask.arg("get-master-addr-by-name").arg(sentinel_master());
        let (host, port): (String, u16) = ask.query_async(&mut sentinel).await.unwrap();
        let raw = Raw::Server(Client::open((host, port)).unwrap());
        Self { builder: RedisStore::sentinel(sentinel_urls(), sentinel_master()), raw }
    }

    fn key(key: &RecordKey) -> Vec<u8> {
        [b"idem:", &key.to_bytes()[..]].concat()
    }
}

impl Harness for Harnessed {
    fn store(&self) -> BoxFuture<'_, Arc<dyn Store>> {
        Box::pin(async {
            // A busy machine is no dead server.
            let builder = self.builder.clone().response_timeout(Duration::from_secs(20));
            Arc::new(builder.connect().await.expect("a connection")) as Arc<dyn Store>
        })
    }

    fn pass(&self, time: Duration) -> BoxFuture<'_, ()> {
        Box::pin(tokio::time::sleep(time))
    }

    fn plant<'a>(&'a self, key: &'a RecordKey, bytes: &'a [u8]) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            let mut set = redis::cmd("SET");
            set.arg(Self::key(key)).arg(bytes).arg("EX").arg(600);
            self.raw.query(&set).await.expect("a planted value");
            true
        })
    }

    fn raw<'a>(&'a self, key: &'a RecordKey) -> BoxFuture<'a, Option<Vec<u8>>> {
        Box::pin(async move {
            let mut get = redis::cmd("GET");
            get.arg(Self::key(key));
            redis::from_redis_value(self.raw.query(&get).await.expect("a value")).expect("bytes")
        })
    }
}

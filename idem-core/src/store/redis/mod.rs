//! The Redis store.

mod answer;
mod builder;
mod check;
mod cluster;
mod errors;
mod link;
mod route;
mod script;
mod slot;
mod slot_map;
mod target;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

pub use self::builder::RedisStoreBuilder;
use self::errors::store_error;
use self::route::Route;
use self::script::{Entry, Script, Terms};
use self::target::Topology;
use super::{
    Answer, Answers, Attempts, Claim, ClaimRequest, CompleteRequest, ReleaseRequest, RenewRequest, Store,
    StoreError,
};
use crate::key::RecordKey;
use crate::record::{RECORD_VERSION, Record, State};
use crate::runtime;

#[doc = include_str!("redis.md")]
#[derive(Clone)]
pub struct RedisStore(Arc<Inner>);

struct Inner {
    route: Route,
    prefix: Vec<u8>,
}

impl RedisStore {
    /// Connects to one Redis or Valkey server with the default settings: `redis://host:port/db`, or `rediss://`
    /// for TLS, with `user:password@` before the host where the server asks for it.
    ///
    /// # Errors
    /// See [`RedisStoreBuilder::connect`].
    pub async fn connect(url: impl Into<String>) -> Result<Self, StoreError> {
        Self::builder(url).connect().await
    }

    /// One server, with settings.
    pub fn builder(url: impl Into<String>) -> RedisStoreBuilder {
        RedisStoreBuilder::new(Topology::Server, [url.into()])
    }

    /// A Redis Cluster. A few of its nodes are enough: the others are found through them.
    pub fn cluster<U: Into<String>>(urls: impl IntoIterator<Item = U>) -> RedisStoreBuilder {
        RedisStoreBuilder::new(Topology::Cluster, urls)
    }

    /// The server that these Sentinels call the master of this name, also after a failover.
    ///
    /// User and password in the URLs are for the Sentinels; those of the servers are set on the builder. With
    /// `rediss://` both are spoken to over TLS.
    pub fn sentinel<U: Into<String>>(
        urls: impl IntoIterator<Item = U>,
        master: impl Into<String>,
    ) -> RedisStoreBuilder {
        RedisStoreBuilder::new(Topology::Sentinel { master: master.into() }, urls)
    }

    fn entry(&self, key: &RecordKey, terms: Terms, own: Vec<u8>) -> Entry {
        Entry { key: self.key(key), terms, own: Some(own) }
    }

    fn key(&self, key: &RecordKey) -> Vec<u8> {
        let key = key.to_bytes();
        let mut joined = Vec::with_capacity(self.0.prefix.len() + key.len());
        joined.extend_from_slice(&self.0.prefix);
        joined.extend_from_slice(&key);
        joined
    }

    /// Runs a script over a batch, and reads each answer.
    fn run<T: 'static>(
        &self,
        script: &'static Script,
        batch: Vec<Entry>,
        read: fn(&[u8], &str) -> Result<T, StoreError>,
    ) -> BoxFuture<'_, Answers<T>> {
        let inner = Arc::clone(&self.0);
        Box::pin(async move {
            let answers = on_runtime(async move { script::run(&inner.route, script, &batch).await }).await?;
            let at = &self.0.route.name;
            let answer = |answer: redis::RedisResult<Vec<u8>>| match answer {
                Ok(bytes) => read(&bytes, at),
                Err(error) => Err(store_error(error, at)),
            };
            let answers = answers.map_err(|error| store_error(error, at))?;
            Ok(answers.into_iter().map(answer).collect())
        })
    }
}

/// Runs a call where the connection lives: the caller's runtime may end, pause its clock, or have none.
async fn on_runtime<T: Send + 'static>(
    call: impl Future<Output = T> + Send + 'static,
) -> Result<T, StoreError> {
    let own = runtime::handle();
    if tokio::runtime::Handle::try_current().is_ok_and(|current| current.id() == own.id()) {
        return Ok(call.await);
    }
    let ended = own.spawn(call).await;
    ended.map_err(|error| StoreError::unavailable("a call to Redis was cut off").with_source(error))
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore")
            .field("at", &self.0.route.name)
            .field("prefix", &String::from_utf8_lossy(&self.0.prefix))
            .finish_non_exhaustive()
    }
}

impl Store for RedisStore {
    fn name(&self) -> &'static str {
        "redis"
    }

    fn claim<'a>(&'a self, batch: &'a [ClaimRequest]) -> BoxFuture<'a, Answers<Claim>> {
        let entry = |request: &ClaimRequest| {
            self.entry(&request.key, Terms::of_lease(request.lease, request.retention), head(request))
        };
        self.run(&script::CLAIM, batch.iter().map(entry).collect(), answer::claim)
    }

    fn renew<'a>(&'a self, batch: &'a [RenewRequest]) -> BoxFuture<'a, Answers<Answer>> {
        let entry = |request: &RenewRequest| {
            let token = request.token.to_bytes().to_vec();
            self.entry(&request.key, Terms::of_lease(request.lease, request.retention), token)
        };
        self.run(&script::RENEW, batch.iter().map(entry).collect(), answer::answer)
    }

    fn complete<'a>(&'a self, batch: &'a [CompleteRequest]) -> BoxFuture<'a, Answers<Answer>> {
        let entry = |request: &CompleteRequest| {
            let anew = Record {
                state: State::Completed,
                token: request.token,
                fence: request.fence,
                attempts: 0,
                lease_end: Duration::ZERO,
                fingerprint: request.fingerprint,
                reply: request.reply.clone(),
            };
            self.entry(&request.key, Terms::of_rest(request.retention), anew.encode())
        };
        self.run(&script::COMPLETE, batch.iter().map(entry).collect(), answer::answer)
    }

    fn release<'a>(&'a self, batch: &'a [ReleaseRequest]) -> BoxFuture<'a, Answers<Answer>> {
        let entry = |request: &ReleaseRequest| {
            let attempts = match request.attempts {
                Attempts::Keep => b'K',
                Attempts::Count => b'C',
                Attempts::Reset => b'R',
            };
            let id = [&request.token.to_bytes()[..], &[attempts]].concat();
            self.entry(&request.key, Terms::of_rest(request.retention), id)
        };
        self.run(&script::RELEASE, batch.iter().map(entry).collect(), answer::answer)
    }

    fn read<'a>(&'a self, key: &'a RecordKey) -> BoxFuture<'a, Result<Option<Record>, StoreError>> {
        let inner = Arc::clone(&self.0);
        let raw_key = self.key(key);
        let mut get = redis::cmd("GET");
        get.arg(&raw_key);
        Box::pin(async move {
            let group = inner.route.group(&raw_key);
            let value = on_runtime(async move { inner.route.query(group, &get).await }).await?;
            answer::record(value, &self.0.route.name)
        })
    }

    fn remove<'a>(&'a self, key: &'a RecordKey) -> BoxFuture<'a, Result<bool, StoreError>> {
        let entry = Entry { key: self.key(key), terms: Terms::default(), own: None };
        let removed = self.run(&script::REMOVE, vec![entry], answer::answer);
        Box::pin(async move {
            let answer = removed.await?.pop().unwrap_or(Ok(Answer::Lost))?;
            Ok(answer == Answer::Done)
        })
    }
}

/// The beginning of the claimed record up to its token; then flags and fingerprint as in the record's layout, where
/// there is a fingerprint.
fn head(request: &ClaimRequest) -> Vec<u8> {
    let mut head = Vec::with_capacity(35);
    head.extend_from_slice(&[RECORD_VERSION, b'P']);
    head.extend_from_slice(&request.token.to_bytes());
    if let Some(fingerprint) = request.fingerprint {
        head.push(1);
        head.extend_from_slice(&fingerprint.to_bytes());
    }
    head
}

//! The Redis store.

mod answer;
mod builder;
mod check;
mod cluster;
mod errors;
mod link;
mod list;
mod probe;
mod registry;
mod route;
mod script;
mod slot;
mod slot_map;
mod target;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;

pub use self::builder::RedisStoreBuilder;
use self::errors::store_error;
use self::route::Route;
use self::script::{RecordTerms, Script, ScriptBatch};
use self::target::Topology;
use super::remote::on_runtime;
use super::{
    Answer, Answers, Attempts, Claim, ClaimRequest, CompleteRequest, PageRequest, RecordFilter, RecordPage,
    Registry, ReleaseRequest, RenewRequest, Store, StoreError,
};
use crate::key::RecordKey;
use crate::record::{RECORD_VERSION, Record, RecordTail, State, Token};

#[doc = include_str!("redis.md")]
#[derive(Clone)]
pub struct RedisStore(Arc<RedisStoreInner>);

struct RedisStoreInner {
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

    /// A batch of requests; `own` writes what is a request's own beside its key.
    fn batch<R>(
        &self,
        requests: &[R],
        of: impl Fn(&R) -> (&RecordKey, RecordTerms),
        own: impl Fn(&R, &mut Vec<u8>),
    ) -> ScriptBatch {
        let mut batch = ScriptBatch::with_capacity(requests.len());
        for request in requests {
            let (key, terms) = of(request);
            batch.push(terms, |bytes| self.write_key(key, bytes), |bytes| own(request, bytes));
        }
        batch
    }

    fn write_key(&self, key: &RecordKey, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.0.prefix);
        key.write_to(bytes);
    }

    /// Runs a script over a batch, and reads each answer.
    fn run<T: 'static>(
        &self,
        script: &'static Script,
        batch: ScriptBatch,
        read: fn(&[u8], &str) -> Result<T, StoreError>,
    ) -> BoxFuture<'_, Answers<T>> {
        let inner = Arc::clone(&self.0);
        Box::pin(async move {
            let answers = on_runtime(async move { script::run(&inner.route, script, &batch).await }).await?;
            let at = &self.0.route.name;
            let answer = |answer: redis::RedisResult<Bytes>| match answer {
                Ok(bytes) => read(&bytes, at),
                Err(error) => Err(store_error(error, at)),
            };
            let answers = answers.map_err(|error| store_error(error, at))?;
            Ok(answers.into_iter().map(answer).collect())
        })
    }
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
        let batch = self.batch(batch, |r| (&r.key, RecordTerms::of_lease(r.lease, r.retention)), head);
        self.run(&script::CLAIM, batch, answer::claim)
    }

    fn renew<'a>(&'a self, batch: &'a [RenewRequest]) -> BoxFuture<'a, Answers<Answer>> {
        let own = |r: &RenewRequest, bytes: &mut Vec<u8>| {
            bytes.extend_from_slice(&r.token.to_bytes());
            if let Some(fence) = r.ends_doubt {
                bytes.extend_from_slice(&fence.0.to_be_bytes());
            }
        };
        let batch = self.batch(batch, |r| (&r.key, RecordTerms::of_lease(r.lease, r.retention)), own);
        self.run(&script::RENEW, batch, answer::answer)
    }

    fn complete<'a>(&'a self, batch: &'a [CompleteRequest]) -> BoxFuture<'a, Answers<Answer>> {
        let batch = self.batch(batch, |r| (&r.key, RecordTerms::of_rest(r.retention)), anew);
        self.run(&script::COMPLETE, batch, answer::answer)
    }

    fn release<'a>(&'a self, batch: &'a [ReleaseRequest]) -> BoxFuture<'a, Answers<Answer>> {
        let own = |r: &ReleaseRequest, bytes: &mut Vec<u8>| {
            bytes.extend_from_slice(&r.token.to_bytes());
            bytes.push(match r.attempts {
                Attempts::Keep => b'K',
                Attempts::Count => b'C',
                Attempts::Reset => b'R',
            });
            match r.doubt {
                None => bytes.push(b'K'),
                Some(doubt) => {
                    bytes.push(b'D');
                    bytes.extend_from_slice(&doubt.to_bytes());
                }
            }
            if let Some(last) = &r.last {
                last.encode_to(bytes);
            }
        };
        let batch = self.batch(batch, |r| (&r.key, RecordTerms::of_rest(r.retention)), own);
        self.run(&script::RELEASE, batch, answer::answer)
    }

    fn read<'a>(&'a self, key: &'a RecordKey) -> BoxFuture<'a, Result<Option<Record>, StoreError>> {
        let inner = Arc::clone(&self.0);
        let mut raw_key = Vec::new();
        self.write_key(key, &mut raw_key);
        let mut get = redis::cmd("GET");
        get.arg(&raw_key);
        Box::pin(async move {
            let group = inner.route.group(&raw_key);
            let value =
                on_runtime(async move { inner.route.query(group, &get, inner.route.deadline()).await })
                    .await?;
            answer::record(value, &self.0.route.name)
        })
    }

    fn remove<'a>(
        &'a self,
        key: &'a RecordKey,
        claim: Option<Token>,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        let mut batch = ScriptBatch::with_capacity(1);
        let own = |bytes: &mut Vec<u8>| bytes.extend(claim.map(Token::to_bytes).into_iter().flatten());
        batch.push(RecordTerms::default(), |bytes| self.write_key(key, bytes), own);
        let removed = self.run(&script::REMOVE, batch, answer::answer);
        Box::pin(async move {
            let answer = removed.await?.pop().unwrap_or(Ok(Answer::Lost))?;
            Ok(answer == Answer::Done)
        })
    }

    fn list<'a>(
        &'a self,
        filter: &'a RecordFilter,
        page: &'a PageRequest,
    ) -> BoxFuture<'a, Result<RecordPage, StoreError>> {
        self.page(filter, page)
    }

    fn registry(&self) -> Option<Arc<dyn Registry>> {
        Some(Arc::new(self.clone()))
    }
}

/// The beginning of the claimed record up to its token; then its member and what follows, as in the record's layout.
fn head(request: &ClaimRequest, bytes: &mut Vec<u8>) {
    bytes.extend_from_slice(&[RECORD_VERSION, b'P']);
    bytes.extend_from_slice(&request.token.to_bytes());
    bytes.extend_from_slice(&request.member.to_bytes());
    let (fingerprint, message) = (request.fingerprint, request.message);
    RecordTail { fingerprint, message, ..RecordTail::default() }.encode_to(bytes);
}

/// The completed record, for a key whose own is gone.
fn anew(request: &CompleteRequest, bytes: &mut Vec<u8>) {
    let record = Record {
        state: State::Completed,
        token: request.token,
        fence: request.fence,
        attempts: 0,
        lease_end: Duration::ZERO,
        member: request.member,
        doubt: None,
        last: None,
        fingerprint: request.fingerprint,
        message: request.message,
        reply: request.reply.clone(),
    };
    record.encode_to(bytes);
}

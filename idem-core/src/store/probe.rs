//! All operations of a store, done once before it is used.

use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::{Instant, sleep};

use super::remote::on_runtime;
use super::{
    Answer, Answers, Attempts, Claim, ClaimRequest, CompleteRequest, ReleaseRequest, RenewRequest, Store,
    StoreError,
};
use crate::doubt::MemberId;
use crate::key::{IdempotencyKey, Namespace, RecordKey};
use crate::record::{Fence, Token};

/// A record that a probe leaves behind when it is cut off is gone after twice that.
const LIFE: Duration = Duration::from_secs(30);

/// Nobody.
pub(super) const MEMBER: MemberId = MemberId::from_bytes([0; 8]);

const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(100);

/// A key that nobody else has.
pub(super) fn key() -> Result<RecordKey, StoreError> {
    let key = IdempotencyKey::new(format!("{:032x}", rand::random::<u128>()));
    let key = key.map_err(|_| StoreError::config("a random key is none"))?;
    Ok(RecordKey::new(Namespace::new(["idem", "probe"]), key))
}

/// Does with a key of its own what the engine does with others: claims, renews, completes, releases, reads and removes. A store
/// that cannot do one of it says so now, and not of each message.
#[allow(dead_code, reason = "not every choice of features has a store with a server")]
pub(super) fn probe<S: Store + Clone>(store: &S) -> BoxFuture<'static, Result<(), StoreError>> {
    let store = store.clone();
    patiently(move || {
        let store = store.clone();
        Box::pin(async move { probe_key(&store, &key()?).await })
    })
}

/// Probes on idem's runtime, and again while the store is out of reach, up to some seconds: a start is no moment to be nervous.
pub(super) fn patiently(
    probe: impl Fn() -> BoxFuture<'static, Result<(), StoreError>> + Send + 'static,
) -> BoxFuture<'static, Result<(), StoreError>> {
    let probing = async move {
        let start = Instant::now();
        loop {
            match probe().await {
                Err(error) if error.is_unavailable() && start.elapsed() < PATIENCE => sleep(PAUSE).await,
                probed => return probed,
            }
        }
    };
    let probing: BoxFuture<'static, Result<(), StoreError>> = Box::pin(probing);
    Box::pin(async move { on_runtime(probing).await? })
}

/// As [`probe`], with a key of the caller's.
pub(super) async fn probe_key(store: &dyn Store, key: &RecordKey) -> Result<(), StoreError> {
    let (token, fence) = claim(store, key).await?;
    let renewal = RenewRequest { key: key.clone(), token, lease: LIFE, retention: LIFE, ends_doubt: None };
    done(store, store.renew(&[renewal]).await)?;
    let (member, fingerprint, message, reply) = (MEMBER, None, None, None);
    let key_again = key.clone();
    let completion = CompleteRequest {
        key: key_again,
        token,
        fence,
        retention: LIFE,
        fingerprint,
        member,
        message,
        reply,
    };
    done(store, store.complete(&[completion]).await)?;
    if store.read(key).await?.is_none() {
        return Err(strange(store));
    }
    store.remove(key, None).await?;
    let (token, _) = claim(store, key).await?;
    let release = ReleaseRequest::new(key.clone(), token, LIFE, Attempts::Reset);
    done(store, store.release(&[release]).await)?;
    store.remove(key, None).await.map(drop)
}

async fn claim(store: &dyn Store, key: &RecordKey) -> Result<(Token, Fence), StoreError> {
    let token = Token::random();
    let (member, fingerprint, message) = (MEMBER, None, None);
    let request =
        ClaimRequest { key: key.clone(), token, lease: LIFE, retention: LIFE, fingerprint, member, message };
    match one(store, store.claim(&[request]).await)? {
        Claim::Claimed { fence, .. } => Ok((token, fence)),
        Claim::InProgress { .. } | Claim::Completed { .. } => Err(strange(store)),
    }
}

fn done(store: &dyn Store, answers: Answers<Answer>) -> Result<(), StoreError> {
    match one(store, answers)? {
        Answer::Done => Ok(()),
        Answer::Lost => Err(strange(store)),
    }
}

fn one<T>(store: &dyn Store, answers: Answers<T>) -> Result<T, StoreError> {
    answers?.pop().unwrap_or_else(|| Err(strange(store)))
}

/// A proxy in between that spreads reads over replicas does so, for one.
fn strange(store: &dyn Store) -> StoreError {
    StoreError::config(format!(
        "the store `{}` does not show what was just written: idem must write to and read from the same server",
        store.name()
    ))
}

//! Requests of stores, and waiting for answers.

use std::time::Duration;

use idem_core::store::{
    Answer, Attempts, Claim, ClaimRequest, CompleteRequest, ReleaseRequest, RenewRequest, Store,
};
use idem_core::{Fence, IdempotencyKey, MemberId, Namespace, RecordKey, Token};
use tokio::time::{Instant, sleep};

/// Claims of fresh keys.
pub(crate) fn claims(count: usize) -> Vec<ClaimRequest> {
    let namespace = Namespace::new([format!("{:?}", Token::random().to_bytes()).as_str()]);
    let claim = |index: usize| {
        let key = RecordKey::new(namespace.clone(), IdempotencyKey::new(index).unwrap());
        let (lease, retention) = (Duration::from_secs(30), Duration::from_mins(1));
        ClaimRequest::new(key, Token::random(), lease, retention, MemberId::random())
    };
    (0..count).map(claim).collect()
}

/// A claim of the same key under another token.
pub(crate) fn rival(claim: &ClaimRequest) -> ClaimRequest {
    ClaimRequest { token: Token::random(), ..claim.clone() }
}

pub(crate) fn renewal(claim: &ClaimRequest) -> RenewRequest {
    let ClaimRequest { key, token, lease, retention, .. } = claim.clone();
    RenewRequest { key, token, lease, retention, ends_doubt: None }
}

pub(crate) fn completion(claim: &ClaimRequest) -> CompleteRequest {
    let ClaimRequest { key, token, retention, fingerprint, .. } = claim.clone();
    CompleteRequest {
        fingerprint,
        ..CompleteRequest::new(key, token, Fence(1), retention, MemberId::random())
    }
}

pub(crate) fn release(claim: &ClaimRequest) -> ReleaseRequest {
    let ClaimRequest { key, token, retention, .. } = claim.clone();
    ReleaseRequest::new(key, token, retention, Attempts::Count)
}

pub(crate) async fn done(store: &dyn Store, claim: &ClaimRequest) {
    let claimed = store.claim(std::slice::from_ref(claim)).await.unwrap().remove(0).unwrap();
    let Claim::Claimed { fence, .. } = claimed else { panic!("{claimed:?}") };
    assert_eq!(
        store.complete(&[CompleteRequest { fence, ..completion(claim) }]).await.unwrap().remove(0).unwrap(),
        Answer::Done
    );
}

pub(crate) async fn claim(store: &dyn Store, claim: &ClaimRequest) -> Claim {
    store.claim(&[rival(claim)]).await.unwrap().remove(0).unwrap()
}

pub(crate) async fn until(what: &str, seen: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !seen().await {
        assert!(Instant::now() < deadline, "not within 20 s: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}

//! The bench of the rules: a store, a fresh namespace, and one-entry calls.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::Harness;
use crate::doubt::{Doubt, MemberId};
use crate::key::{Fingerprint, IdempotencyKey, Namespace, RecordKey};
use crate::record::{Fence, Record, State, Token};
use crate::store::{
    Answer, Attempts, Claim, ClaimRequest, CompleteRequest, ReleaseRequest, RenewRequest, Store, StoreError,
};

/// Longer than any rule takes on a slow machine.
pub(super) const LONG: Duration = Duration::from_mins(2);
/// Short enough to wait for.
pub(super) const SHORT: Duration = Duration::from_millis(300);
/// A wait after which [`SHORT`] is over, with a margin for what a store rounds.
pub(super) const PAST_SHORT: Duration = Duration::from_millis(400);

/// The member who claims, where a rule does not care.
pub(super) const MEMBER: MemberId = MemberId::from_bytes([7; 8]);

/// A store under test, and a namespace of its own.
pub(super) struct Bench<'a> {
    pub(super) harness: &'a dyn Harness,
    pub(super) store: Arc<dyn Store>,
    namespace: Namespace,
}

impl<'a> Bench<'a> {
    pub(super) async fn new(harness: &'a dyn Harness) -> Self {
        Self::with(harness, harness.store().await)
    }

    pub(super) fn with(harness: &'a dyn Harness, store: Arc<dyn Store>) -> Self {
        let unique = format!("{:032x}", u128::from_be_bytes(Token::random().to_bytes()));
        Self { harness, store, namespace: Namespace::new(["conformance", &unique]) }
    }

    pub(super) fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    pub(super) fn key(&self, name: &str) -> RecordKey {
        RecordKey::new(self.namespace.clone(), IdempotencyKey::new(name).expect("a key"))
    }

    pub(super) fn key_of(&self, key: IdempotencyKey) -> RecordKey {
        RecordKey::new(self.namespace.clone(), key)
    }

    pub(super) fn keys(&self, count: usize) -> Vec<RecordKey> {
        (0..count).map(|index| self.key(&format!("key {index}"))).collect()
    }

    pub(super) async fn pass(&self, time: Duration) {
        self.harness.pass(time).await;
    }

    pub(super) async fn claim(&self, key: &RecordKey, token: Token, lease: Duration) -> Claim {
        self.try_claim(claim_request(key, token, lease)).await.expect("a claim's answer")
    }

    pub(super) async fn try_claim(&self, request: ClaimRequest) -> Result<Claim, StoreError> {
        one(self.store.claim(&[request]).await)
    }

    /// Claims a key that must be free, and gives the claim's token, fence and attempt.
    pub(super) async fn claimed(&self, key: &RecordKey, lease: Duration) -> (Token, Fence, u32) {
        let token = Token::random();
        let (fence, attempt) = expect_claimed(&self.claim(key, token, lease).await);
        (token, fence, attempt)
    }

    pub(super) async fn renew(&self, key: &RecordKey, token: Token, lease: Duration) -> Answer {
        self.try_renew(renew_request(key, token, lease)).await.expect("a renewal's answer")
    }

    pub(super) async fn try_renew(&self, request: RenewRequest) -> Result<Answer, StoreError> {
        one(self.store.renew(&[request]).await)
    }

    pub(super) async fn complete(&self, key: &RecordKey, token: Token, retention: Duration) -> Answer {
        let request = CompleteRequest { retention, ..complete_request(key, token) };
        self.try_complete(request).await.expect("a completion's answer")
    }

    pub(super) async fn try_complete(&self, request: CompleteRequest) -> Result<Answer, StoreError> {
        one(self.store.complete(&[request]).await)
    }

    pub(super) async fn release(&self, key: &RecordKey, token: Token, attempts: Attempts) -> Answer {
        let request = ReleaseRequest { attempts, ..release_request(key, token) };
        self.try_release(request).await.expect("a release's answer")
    }

    pub(super) async fn try_release(&self, request: ReleaseRequest) -> Result<Answer, StoreError> {
        one(self.store.release(&[request]).await)
    }

    /// Asserts that every operation under this token is refused and leaves the record as it is.
    pub(super) async fn expect_lost(&self, key: &RecordKey, token: Token) {
        let before = self.store.read(key).await.expect("the record");
        assert_eq!(self.renew(key, token, LONG).await, Answer::Lost, "renew with a stale token");
        assert_eq!(self.complete(key, token, LONG).await, Answer::Lost, "complete with a stale token");
        for attempts in [Attempts::Keep, Attempts::Count, Attempts::Reset] {
            assert_eq!(self.release(key, token, attempts).await, Answer::Lost, "release with a stale token");
        }
        assert_eq!(
            self.store.read(key).await.expect("the record"),
            before,
            "a stale token changed the record"
        );
    }
}

pub(super) fn claim_request(key: &RecordKey, token: Token, lease: Duration) -> ClaimRequest {
    ClaimRequest::new(key.clone(), token, lease, LONG, MEMBER)
}

pub(super) fn renew_request(key: &RecordKey, token: Token, lease: Duration) -> RenewRequest {
    RenewRequest { key: key.clone(), token, lease, retention: LONG, ends_doubt: None }
}

pub(super) fn complete_request(key: &RecordKey, token: Token) -> CompleteRequest {
    CompleteRequest::new(key.clone(), token, Fence(1), LONG, MEMBER)
}

pub(super) fn release_request(key: &RecordKey, token: Token) -> ReleaseRequest {
    ReleaseRequest::new(key.clone(), token, LONG, Attempts::Keep)
}

#[track_caller]
pub(super) fn expect_claimed(claim: &Claim) -> (Fence, u32) {
    match claim {
        Claim::Claimed { fence, attempt, .. } => (*fence, *attempt),
        other => panic!("the key should be free to claim, but the answer is {other:?}"),
    }
}

/// The doubt that a claim finds.
#[track_caller]
pub(super) fn expect_after(claim: &Claim) -> Option<Doubt> {
    match claim {
        Claim::Claimed { after, .. } => *after,
        other => panic!("the key should be free to claim, but the answer is {other:?}"),
    }
}

/// A record without what may be absent.
pub(super) fn bare(state: State, token: Token, fence: Fence, attempts: u32, lease_end: Duration) -> Record {
    Record {
        state,
        token,
        fence,
        attempts,
        lease_end,
        member: MEMBER,
        doubt: None,
        last: None,
        fingerprint: None,
        message: None,
        reply: None,
    }
}

#[track_caller]
pub(super) fn expect_in_progress(claim: &Claim) -> (Duration, Option<Fingerprint>) {
    match claim {
        Claim::InProgress { remaining, fingerprint } => (*remaining, *fingerprint),
        other => panic!("the key should be in progress, but the answer is {other:?}"),
    }
}

#[track_caller]
pub(super) fn expect_completed(claim: &Claim) -> (Option<Fingerprint>, Option<Bytes>) {
    match claim {
        Claim::Completed { fingerprint, reply } => (*fingerprint, reply.clone()),
        other => panic!("the key should be completed, but the answer is {other:?}"),
    }
}

/// The answer of a batch of one.
#[track_caller]
fn one<T>(answers: Result<Vec<Result<T, StoreError>>, StoreError>) -> Result<T, StoreError> {
    let mut answers = answers?;
    assert_eq!(answers.len(), 1, "a batch of one entry has one answer");
    answers.remove(0)
}

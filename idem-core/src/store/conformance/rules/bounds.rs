//! Invariant 3: a completed record stays for its retention, and a full store fails instead of forgetting.

use super::super::Harness;
use super::super::bench::{
    Bench, LONG, PAST_SHORT, SHORT, claim_request, complete_request, expect_claimed, expect_completed,
    expect_in_progress, release_request, renew_request,
};
use crate::clock::{LONGEST, extremes};
use crate::policy::MIN_LEASE;
use crate::record::Token;
use crate::store::{Answer, Attempts, ClaimRequest, CompleteRequest, ReleaseRequest, RenewRequest};

/// Nothing that anybody asks for changes a completed record.
pub async fn invariant_3_completed_is_never_overwritten_before_retention(harness: &dyn Harness) {
    let bench = Bench::new(harness).await;
    let key = bench.key("done");
    let (token, ..) = bench.claimed(&key, SHORT).await;
    assert_eq!(bench.complete(&key, token, LONG).await, Answer::Done);
    let before = bench.store.read(&key).await.expect("an answer");
    expect_completed(&bench.claim(&key, Token::random(), LONG).await);
    bench.expect_lost(&key, Token::random()).await;
    // Long after the lease's end: a completed record is no lapsed one.
    bench.pass(PAST_SHORT * 2).await;
    expect_completed(&bench.claim(&key, Token::random(), LONG).await);
    expect_completed(&bench.claim(&key, token, LONG).await);
    assert_eq!(bench.release(&key, token, Attempts::Keep).await, Answer::Lost);
    assert_eq!(bench.store.read(&key).await.expect("an answer"), before);
}

/// The retention counts from the completion, and the key is as new afterwards.
pub async fn invariant_3_completed_is_forgotten_after_retention(harness: &dyn Harness) {
    let bench = Bench::new(harness).await;
    let key = bench.key("forgotten");
    let token = Token::random();
    let claim = ClaimRequest { retention: SHORT, ..claim_request(&key, token, LONG) };
    expect_claimed(&bench.try_claim(claim).await.expect("an answer"));
    assert_eq!(bench.complete(&key, token, SHORT).await, Answer::Done);
    bench.pass(PAST_SHORT).await;
    assert_eq!(bench.store.read(&key).await.expect("an answer"), None);
    assert!(!bench.store.remove(&key, None).await.expect("an answer"), "there is nothing to remove");
    let (_, _, attempt) = bench.claimed(&key, LONG).await;
    assert_eq!(attempt, 1);
}

/// A record lives for the retention after the lease that was renewed last, and after its completion, however short
/// the lease was that it was claimed with.
pub async fn a_longer_life_replaces_a_shorter_one(harness: &dyn Harness) {
    let bench = Bench::new(harness).await;
    let (renewed, completed, late) = (bench.key("renewed"), bench.key("completed"), bench.key("late"));
    let token = Token::random();
    for key in [&renewed, &completed] {
        let claim = ClaimRequest { retention: SHORT, ..claim_request(key, token, SHORT) };
        expect_claimed(&bench.try_claim(claim).await.expect("an answer"));
        assert_eq!(bench.renew(key, token, LONG).await, Answer::Done);
    }
    assert_eq!(bench.complete(&completed, token, LONG).await, Answer::Done);
    // Completed when its lease and most of its life are over.
    let claim = ClaimRequest { retention: 3 * PAST_SHORT, ..claim_request(&late, token, SHORT) };
    expect_claimed(&bench.try_claim(claim).await.expect("an answer"));
    bench.pass(3 * PAST_SHORT).await;
    assert_eq!(bench.complete(&late, token, 3 * PAST_SHORT).await, Answer::Done);
    bench.pass(2 * PAST_SHORT).await;
    expect_in_progress(&bench.claim(&renewed, Token::random(), LONG).await);
    expect_completed(&bench.claim(&completed, Token::random(), LONG).await);
    expect_completed(&bench.claim(&late, Token::random(), LONG).await);
}

/// Whatever lease and retention a policy has, the store answers, and what has no end is there at the end of the test.
pub async fn times_without_end_and_of_no_length_are_kept(harness: &dyn Harness) {
    let bench = Bench::new(harness).await;
    for (turn, time) in extremes().map(|time| time.max(MIN_LEASE)).enumerate() {
        let [held, done, given_back] =
            ["held", "done", "given back"].map(|name| bench.key(&format!("{name} {turn}")));
        let token = Token::random();
        for key in [&held, &done, &given_back] {
            let claim = ClaimRequest { lease: time, retention: time, ..claim_request(key, token, LONG) };
            expect_claimed(&bench.try_claim(claim).await.expect("an answer"));
            let renewal = RenewRequest { lease: time, retention: time, ..renew_request(key, token, LONG) };
            bench.try_renew(renewal).await.expect("an answer");
        }
        assert_eq!(bench.complete(&done, token, time).await, Answer::Done);
        let release = ReleaseRequest {
            retention: time,
            attempts: Attempts::Count,
            ..release_request(&given_back, token)
        };
        bench.try_release(release).await.expect("an answer");
        if time > LONG {
            let (remaining, _) = expect_in_progress(&bench.claim(&held, Token::random(), time).await);
            assert!(remaining > time.min(LONGEST).saturating_sub(LONG), "{time:?} {remaining:?}");
            expect_completed(&bench.claim(&done, Token::random(), time).await);
            let (_, attempt) = expect_claimed(&bench.claim(&given_back, Token::random(), time).await);
            assert_eq!(attempt, 2, "{time:?}");
        }
    }
}

/// Where the store is bounded.
pub async fn invariant_3_bounded_store_fails_when_full(harness: &dyn Harness) {
    const ROOM: usize = 20;
    let Some(store) = harness.bounded(ROOM).await else { return };
    let bench = Bench::with(harness, store);
    let keys = bench.keys(ROOM);
    let mut tokens = Vec::new();
    for key in &keys {
        tokens.push(bench.claimed(key, LONG).await.0);
    }
    for (key, token) in keys.iter().zip(&tokens).take(ROOM / 2) {
        assert_eq!(bench.complete(key, *token, LONG).await, Answer::Done);
    }
    let too_many = bench.key("one too many");
    for _ in 0..3 {
        let error = bench.try_claim(claim_request(&too_many, Token::random(), LONG)).await.unwrap_err();
        assert!(error.is_full(), "{error:?}");
        let error = bench.try_complete(complete_request(&too_many, Token::random())).await.unwrap_err();
        assert!(error.is_full(), "{error:?}");
    }
    for (index, (key, token)) in keys.iter().zip(&tokens).enumerate() {
        if index < ROOM / 2 {
            expect_completed(&bench.claim(key, Token::random(), LONG).await);
        } else {
            assert_eq!(
                bench.complete(key, *token, LONG).await,
                Answer::Done,
                "no room is needed to complete"
            );
        }
    }
    assert!(bench.store.remove(&keys[0], None).await.expect("an answer"));
    bench.claimed(&too_many, LONG).await;
}

/// Where the store is bounded: expired records make room, and only they.
pub async fn invariant_3_bounded_store_has_room_again_after_expiry(harness: &dyn Harness) {
    const ROOM: usize = 20;
    let Some(store) = harness.bounded(ROOM).await else { return };
    let bench = Bench::with(harness, store);
    let keys = bench.keys(ROOM);
    let mut tokens = Vec::new();
    for key in &keys {
        tokens.push(bench.claimed(key, LONG).await.0);
    }
    for (index, (key, token)) in keys.iter().zip(&tokens).enumerate() {
        let retention = if index == 0 { LONG } else { SHORT };
        let request = CompleteRequest { retention, ..complete_request(key, *token) };
        assert_eq!(bench.try_complete(request).await.expect("an answer"), Answer::Done);
    }
    bench.pass(PAST_SHORT).await;
    for index in 0..ROOM - 1 {
        let key = bench.key(&format!("second {index}"));
        let claim = ClaimRequest { retention: LONG, ..claim_request(&key, Token::random(), LONG) };
        expect_claimed(&bench.try_claim(claim).await.expect("room for another record"));
    }
    expect_completed(&bench.claim(&keys[0], Token::random(), LONG).await);
    let error = bench.try_claim(claim_request(&bench.key("third"), Token::random(), LONG)).await.unwrap_err();
    assert!(error.is_full(), "{error:?}");
}

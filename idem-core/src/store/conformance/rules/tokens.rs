//! Invariant 2: only the token that holds the lease acts, and asking again gives the same answer.

use super::super::Harness;
use super::super::bench::{
    Bench, LONG, PAST_SHORT, SHORT, claim_request, complete_request, expect_claimed, expect_completed,
    expect_in_progress,
};
use crate::key::Fingerprint;
use crate::record::{Fence, State, Token};
use crate::store::{Answer, Attempts, ClaimRequest, CompleteRequest};

/// The first holder's lease ran out and another has claimed the key.
pub async fn invariant_2_stale_token_changes_nothing_and_is_lost(harness: &dyn Harness) {
    let bench = Bench::new(harness).await;
    let key = bench.key("overtaken");
    let (stale, ..) = bench.claimed(&key, SHORT).await;
    bench.pass(PAST_SHORT).await;
    let (holder, ..) = bench.claimed(&key, LONG).await;
    bench.expect_lost(&key, stale).await;
    bench.expect_lost(&key, Token::random()).await;
    expect_in_progress(&bench.claim(&key, stale, LONG).await);
    assert_eq!(bench.complete(&key, holder, LONG).await, Answer::Done);
    bench.expect_lost(&key, stale).await;
    let absent = bench.key("never claimed");
    assert_eq!(bench.renew(&absent, stale, LONG).await, Answer::Lost);
    assert_eq!(bench.release(&absent, stale, Attempts::Count).await, Answer::Lost);
    assert_eq!(bench.store.read(&absent).await.expect("an answer"), None);
}

/// After its own end a claim cannot go another way: completed is not released, released is not completed.
pub async fn invariant_2_a_finished_claim_is_lost_to_everybody_else(harness: &dyn Harness) {
    let bench = Bench::new(harness).await;
    let (completed, released) = (bench.key("completed"), bench.key("released"));
    let (token, ..) = bench.claimed(&completed, LONG).await;
    assert_eq!(bench.complete(&completed, token, LONG).await, Answer::Done);
    let before = bench.store.read(&completed).await.expect("an answer");
    assert_eq!(bench.release(&completed, token, Attempts::Reset).await, Answer::Lost);
    assert_eq!(bench.renew(&completed, token, LONG).await, Answer::Lost);
    assert_eq!(bench.store.read(&completed).await.expect("an answer"), before);
    bench.expect_lost(&completed, Token::random()).await;
    let (token, ..) = bench.claimed(&released, LONG).await;
    assert_eq!(bench.release(&released, token, Attempts::Count).await, Answer::Done);
    let before = bench.store.read(&released).await.expect("an answer");
    assert_eq!(bench.complete(&released, token, LONG).await, Answer::Lost);
    assert_eq!(bench.renew(&released, token, LONG).await, Answer::Lost);
    assert_eq!(bench.store.read(&released).await.expect("an answer"), before);
    bench.expect_lost(&released, Token::random()).await;
}

/// A claim whose reply was lost does not conflict with its own orphan, and its lease begins anew.
pub async fn invariant_2_same_token_same_answer_for_claim(harness: &dyn Harness) {
    let bench = Bench::new(harness).await;
    let key = bench.key("asked again");
    let token = Token::random();
    let first = bench.claim(&key, token, SHORT).await;
    expect_claimed(&first);
    assert_eq!(bench.claim(&key, token, SHORT).await, first, "at once");
    bench.pass(PAST_SHORT).await;
    assert_eq!(bench.claim(&key, token, LONG).await, first, "after the lease's end, unclaimed since");
    let (remaining, _) = expect_in_progress(&bench.claim(&key, Token::random(), LONG).await);
    assert!(remaining > LONG / 2, "the lease began anew: {remaining:?} of {LONG:?} remain");
}

/// A renewal can be repeated.
pub async fn invariant_2_same_token_same_answer_for_renew(harness: &dyn Harness) {
    let bench = Bench::new(harness).await;
    let key = bench.key("renewed twice");
    let (token, fence, _) = bench.claimed(&key, LONG).await;
    for _ in 0..3 {
        assert_eq!(bench.renew(&key, token, LONG).await, Answer::Done);
    }
    let record = bench.store.read(&key).await.expect("an answer").expect("a record");
    assert_eq!((record.state, record.token, record.fence), (State::InProgress, token, fence));
}

/// A completion can be repeated, also with another reply, and the first one stands.
pub async fn invariant_2_same_token_same_answer_for_complete(harness: &dyn Harness) {
    let bench = Bench::new(harness).await;
    let key = bench.key("completed twice");
    let (token, ..) = bench.claimed(&key, LONG).await;
    let request = CompleteRequest { reply: Some("first".into()), ..complete_request(&key, token) };
    assert_eq!(bench.try_complete(request).await.expect("an answer"), Answer::Done);
    let before = bench.store.read(&key).await.expect("an answer").expect("a record");
    assert_eq!(before.token, token, "a completed record keeps its token");
    let request = CompleteRequest { reply: Some("second".into()), ..complete_request(&key, token) };
    assert_eq!(bench.try_complete(request).await.expect("an answer"), Answer::Done);
    assert_eq!(bench.store.read(&key).await.expect("an answer"), Some(before));
}

/// A release can be repeated.
pub async fn invariant_2_same_token_same_answer_for_release(harness: &dyn Harness) {
    let bench = Bench::new(harness).await;
    let key = bench.key("released twice");
    let (token, ..) = bench.claimed(&key, LONG).await;
    for _ in 0..3 {
        assert_eq!(bench.release(&key, token, Attempts::Keep).await, Answer::Done);
    }
    bench.claimed(&key, LONG).await;
    bench.expect_lost(&key, token).await;
}

/// The work was done, only late.
pub async fn invariant_2_complete_of_a_lapsed_unclaimed_key_is_recorded(harness: &dyn Harness) {
    let bench = Bench::new(harness).await;
    let key = bench.key("lapsed");
    let (token, ..) = bench.claimed(&key, SHORT).await;
    bench.pass(PAST_SHORT).await;
    assert_eq!(bench.complete(&key, token, LONG).await, Answer::Done);
    expect_completed(&bench.claim(&key, Token::random(), LONG).await);
}

/// So late that the record's whole life is over: it is made anew of what the completion says.
pub async fn invariant_2_complete_of_a_vanished_record_is_recorded(harness: &dyn Harness) {
    let bench = Bench::new(harness).await;
    let key = bench.key("vanished");
    let token = Token::random();
    let claim = ClaimRequest { retention: SHORT, ..claim_request(&key, token, SHORT) };
    let (fence, _) = expect_claimed(&bench.try_claim(claim).await.expect("an answer"));
    bench.pass(PAST_SHORT * 2).await;
    assert_eq!(bench.store.read(&key).await.expect("an answer"), None, "the record's life is over");
    let fingerprint = Some(Fingerprint::of(b"payload"));
    let reply = Some("reply".into());
    let request = CompleteRequest { fence, fingerprint, reply, ..complete_request(&key, token) };
    for _ in 0..2 {
        assert_eq!(bench.try_complete(request.clone()).await.expect("an answer"), Answer::Done);
    }
    let record = bench.store.read(&key).await.expect("an answer").expect("a record");
    assert_eq!((record.state, record.token, record.fence), (State::Completed, token, fence));
    let answer = expect_completed(&bench.claim(&key, Token::random(), LONG).await);
    assert_eq!(answer, (fingerprint, request.reply));
}

/// A renewal that comes late holds the key again, while nobody has claimed it since.
pub async fn invariant_2_renew_of_a_lapsed_unclaimed_key_holds_it_again(harness: &dyn Harness) {
    let bench = Bench::new(harness).await;
    let key = bench.key("renewed late");
    let (token, ..) = bench.claimed(&key, SHORT).await;
    bench.pass(PAST_SHORT).await;
    assert_eq!(bench.renew(&key, token, LONG).await, Answer::Done);
    expect_in_progress(&bench.claim(&key, Token::random(), LONG).await);
}

/// The network delivers a copy of the claim after its release: it must not take the key for nobody.
pub async fn invariant_2_late_copy_of_a_released_claim_changes_nothing(harness: &dyn Harness) {
    let bench = Bench::new(harness).await;
    let key = bench.key("late copy");
    let (token, ..) = bench.claimed(&key, LONG).await;
    assert_eq!(bench.release(&key, token, Attempts::Count).await, Answer::Done);
    let before = bench.store.read(&key).await.expect("an answer");
    let (remaining, _) = expect_in_progress(&bench.claim(&key, token, LONG).await);
    assert!(remaining.is_zero(), "nothing remains of a released lease, not {remaining:?}");
    assert_eq!(bench.store.read(&key).await.expect("an answer"), before);
    bench.claimed(&key, LONG).await;
}

/// The same after its completion.
pub async fn invariant_2_late_copy_of_a_completed_claim_is_told_completed(harness: &dyn Harness) {
    let bench = Bench::new(harness).await;
    let key = bench.key("late copy of a completed claim");
    let (token, fence, _) = bench.claimed(&key, LONG).await;
    let request = CompleteRequest { fence: Fence(fence.0), ..complete_request(&key, token) };
    assert_eq!(bench.try_complete(request).await.expect("an answer"), Answer::Done);
    let before = bench.store.read(&key).await.expect("an answer");
    expect_completed(&bench.claim(&key, token, LONG).await);
    assert_eq!(bench.store.read(&key).await.expect("an answer"), before);
}

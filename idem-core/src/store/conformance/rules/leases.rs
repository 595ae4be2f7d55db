//! Invariant 1: at most one live lease per key, by the store's clock.

use std::sync::Arc;
use std::time::Duration;

use super::super::Harness;
use super::super::bench::{
    Bench, LONG, PAST_SHORT, SHORT, claim_request, expect_claimed, expect_in_progress,
};
use crate::record::Token;
use crate::runtime;
use crate::store::{Answer, Attempts, Claim};

/// Many claim the same key at once, from several threads; one gets it, and so it is after each release.
pub async fn invariant_1_at_most_one_live_lease_per_key(harness: &dyn Harness) {
    const ROUNDS: usize = 10;
    const CLAIMERS: usize = 32;
    let bench = Bench::new(harness).await;
    let key = bench.key("contended");
    for round in 0..ROUNDS {
        let claimers: Vec<_> = (0..CLAIMERS)
            .map(|_| {
                let (store, key) = (Arc::clone(&bench.store), key.clone());
                runtime::handle().spawn(async move {
                    let token = Token::random();
                    let mut answers = store.claim(&[claim_request(&key, token, LONG)]).await?;
                    answers.remove(0).map(|claim| (token, claim))
                })
            })
            .collect();
        let mut winners = Vec::new();
        for claimer in claimers {
            match claimer.await.expect("the claimer's task").expect("a claim's answer") {
                (token, Claim::Claimed { .. }) => winners.push(token),
                (_, Claim::InProgress { .. }) => {}
                (_, other) => panic!("nobody has completed the key, but the answer is {other:?}"),
            }
        }
        assert_eq!(winners.len(), 1, "round {round}: exactly one of {CLAIMERS} claimers gets the lease");
        assert_eq!(bench.release(&key, winners[0], Attempts::Keep).await, Answer::Done);
    }
}

/// A claim gets the remaining time, and the key stays taken until that is over.
pub async fn invariant_1_no_second_claim_before_the_lease_is_over(harness: &dyn Harness) {
    let bench = Bench::new(harness).await;
    let key = bench.key("held");
    let lease = Duration::from_secs(2);
    bench.claimed(&key, lease).await;
    let (remaining, _) = expect_in_progress(&bench.claim(&key, Token::random(), LONG).await);
    assert!(!remaining.is_zero() && remaining <= lease, "{remaining:?} of {lease:?} remain");
    bench.pass(SHORT).await;
    let (later, _) = expect_in_progress(&bench.claim(&key, Token::random(), LONG).await);
    assert!(later < remaining, "the remaining time shrinks: {later:?} after {remaining:?}");
    bench.pass(later.saturating_add(Duration::from_millis(50))).await;
    bench.claimed(&key, LONG).await;
}

/// A renewal counts from now on, not from the first lease's end or the claim.
pub async fn invariant_1_a_renewed_lease_is_live_past_its_first_end(harness: &dyn Harness) {
    let bench = Bench::new(harness).await;
    let key = bench.key("renewed");
    let (token, ..) = bench.claimed(&key, SHORT).await;
    assert_eq!(bench.renew(&key, token, LONG).await, Answer::Done);
    bench.pass(PAST_SHORT).await;
    let (remaining, _) = expect_in_progress(&bench.claim(&key, Token::random(), LONG).await);
    assert!(remaining <= LONG && remaining > LONG / 2, "{remaining:?} of {LONG:?} remain");
}

/// The claimer asks for a span: two claims of different spans end in the store's order, and the record
/// says when, later for the later one.
pub async fn invariant_1_the_lease_is_measured_by_the_stores_clock(harness: &dyn Harness) {
    let bench = Bench::new(harness).await;
    let (short, long) = (bench.key("short"), bench.key("long"));
    bench.claimed(&short, SHORT).await;
    bench.claimed(&long, LONG).await;
    let end = async |key| bench.store.read(key).await.expect("an answer").expect("a record").lease_end;
    let (short_end, long_end) = (end(&short).await, end(&long).await);
    let apart = long_end.saturating_sub(short_end);
    assert!(apart >= LONG.saturating_sub(SHORT) && apart < LONG * 2, "the ends are {apart:?} apart");
    bench.pass(PAST_SHORT).await;
    bench.claimed(&short, LONG).await;
    expect_in_progress(&bench.claim(&long, Token::random(), SHORT).await);
}

/// The process dies after the claim: the key is taken until the lease ends, and free from then on.
pub async fn crash_after_claim_frees_the_key_when_the_lease_is_over(harness: &dyn Harness) {
    let bench = Bench::new(harness).await;
    let key = bench.key("orphan");
    let lease = Duration::from_secs(2);
    let (_, fence, attempt) = bench.claimed(&key, lease).await;
    expect_in_progress(&bench.claim(&key, Token::random(), lease).await);
    bench.pass(lease.saturating_add(Duration::from_millis(50))).await;
    let (_, next_fence, next_attempt) = bench.claimed(&key, LONG).await;
    assert!(next_fence > fence, "the next claim's fence {next_fence} is greater than {fence}");
    assert_eq!(next_attempt, attempt, "a crash costs no attempt");
}

/// The process dies after a renewal: as after a claim.
pub async fn crash_of_a_renewing_holder_frees_the_key(harness: &dyn Harness) {
    let bench = Bench::new(harness).await;
    let key = bench.key("renewing orphan");
    let (token, ..) = bench.claimed(&key, LONG).await;
    assert_eq!(bench.renew(&key, token, SHORT).await, Answer::Done);
    bench.pass(PAST_SHORT).await;
    expect_claimed(&bench.claim(&key, Token::random(), LONG).await);
    bench.expect_lost(&key, token).await;
}

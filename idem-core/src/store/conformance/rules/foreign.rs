//! A record that this version does not understand is an error and never treated as absent.

use super::super::Harness;
use super::super::bench::{
    Bench, LONG, bare, claim_request, complete_request, expect_claimed, release_request, renew_request,
};
use crate::key::RecordKey;
use crate::record::{Fence, RECORD_VERSION, State, Token};
use crate::store::StoreError;

/// Every operation answers with the error and leaves the bytes as they are. Where the harness can plant them.
pub async fn foreign_and_newer_records_are_errors_and_left_untouched(harness: &dyn Harness) {
    let bench = Bench::new(harness).await;
    for (index, (bytes, token)) in planted().into_iter().enumerate() {
        let key = bench.key(&format!("planted {index}"));
        if !harness.plant(&key, &bytes).await {
            return;
        }
        for error in refusals(&bench, &key, token).await {
            assert!(error.is_record(), "value {index}: {error:?}");
        }
        assert_eq!(harness.raw(&key).await.as_deref(), Some(&bytes[..]), "value {index} was changed");
    }
}

/// In a batch. Where the harness can plant values.
pub async fn a_foreign_record_does_not_fail_its_neighbours(harness: &dyn Harness) {
    let bench = Bench::new(harness).await;
    let keys = bench.keys(9);
    let (bad, token) = (4, Token::random());
    if !harness.plant(&keys[bad], b"some other program's value").await {
        return;
    }
    let claims: Vec<_> = keys.iter().map(|key| claim_request(key, token, LONG)).collect();
    for (place, answer) in bench.store.claim(&claims).await.expect("answers").into_iter().enumerate() {
        if place == bad {
            assert!(answer.unwrap_err().is_record());
        } else {
            expect_claimed(&answer.expect("a neighbour's answer"));
        }
    }
    let completions: Vec<_> = keys.iter().map(|key| complete_request(key, token)).collect();
    for (place, answer) in bench.store.complete(&completions).await.expect("answers").into_iter().enumerate()
    {
        assert_eq!(answer.is_err_and(|error| error.is_record()), place == bad, "place {place}");
    }
}

/// Values of other programs, of a newer version, and of this one with a state that it does not have; and the
/// token that is in the place where this version's would be.
fn planted() -> Vec<(Vec<u8>, Token)> {
    let token = Token::random();
    let state = State::InProgress;
    let (fence, attempts, lease_end) = (Fence(1), 0, std::time::Duration::ZERO);
    let own = bare(state, token, fence, attempts, lease_end).encode();
    let mut newer = own.clone();
    newer[0] = RECORD_VERSION + 1;
    let mut newest = own.clone();
    newest[0] = u8::MAX;
    newest.extend_from_slice(b"and a field that this version does not know");
    let mut state = own.clone();
    state[1] = b'Q';
    let mut old = own.clone();
    old[0] = 0;
    let short = own[..own.len() - 1].to_vec();
    let text = b"hello, this is a value of some other program, and it is long enough".to_vec();
    [newer, newest, state, old, short, text, b"1".to_vec(), Vec::new()].map(|bytes| (bytes, token)).to_vec()
}

async fn refusals(bench: &Bench<'_>, key: &RecordKey, token: Token) -> Vec<StoreError> {
    let mut refusals = Vec::new();
    for token in [token, Token::random()] {
        refusals.push(bench.try_claim(claim_request(key, token, LONG)).await.expect_err("claim"));
        refusals.push(bench.try_renew(renew_request(key, token, LONG)).await.expect_err("renew"));
        refusals.push(bench.try_complete(complete_request(key, token)).await.expect_err("complete"));
        refusals.push(bench.try_release(release_request(key, token)).await.expect_err("release"));
    }
    refusals.push(bench.store.read(key).await.expect_err("read"));
    refusals.push(bench.store.remove(key, None).await.expect_err("remove"));
    refusals
}

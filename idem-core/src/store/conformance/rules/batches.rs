//! Every entry of a batch is answered by itself, in the batch's order.

use super::super::Harness;
use super::super::bench::{
    Bench, LONG, claim_request, complete_request, expect_claimed, expect_completed, expect_in_progress,
    release_request, renew_request,
};
use crate::key::RecordKey;
use crate::record::Token;
use crate::store::{Answer, Attempts, Claim, ClaimRequest, CompleteRequest, ReleaseRequest, RenewRequest};

const SIZES: [usize; 6] = [1, 2, 31, 33, 999, 1_000];

/// Each key has a lease, a record and a reply of its own, so that an answer at the wrong place is noticed.
pub async fn batches_of_every_size_answer_in_order(harness: &dyn Harness) {
    for size in SIZES.into_iter().chain([32]) {
        let bench = Bench::new(harness).await;
        let size = size.min(bench.store.max_batch());
        let keys = bench.keys(size);
        let tokens: Vec<Token> = keys.iter().map(|_| Token::random()).collect();
        let entries = || keys.iter().zip(&tokens);
        let claims: Vec<_> = entries().map(|(key, token)| claim_request(key, *token, LONG)).collect();
        let fences: Vec<_> = claim(&bench, &claims).await.iter().map(expect_claimed).collect();
        assert_eq!(fences.len(), size);
        expect_fences(&bench, &keys, &fences).await;
        let renewals: Vec<RenewRequest> =
            entries().map(|(key, token)| renew_request(key, *token, LONG)).collect();
        all_done(bench.store.renew(&renewals).await.expect("answers"), size);
        // Every third is released and the others completed, with a reply that says whose it is.
        let (to_release, to_complete): (Vec<usize>, Vec<usize>) = (0..size).partition(|place| place % 3 == 2);
        let releases: Vec<ReleaseRequest> =
            to_release.iter().map(|&place| release_request(&keys[place], tokens[place])).collect();
        all_done(bench.store.release(&releases).await.expect("answers"), to_release.len());
        let completion = |&place: &usize| CompleteRequest {
            reply: Some(place.to_string().into()),
            ..complete_request(&keys[place], tokens[place])
        };
        let completions: Vec<_> = to_complete.iter().map(completion).collect();
        all_done(bench.store.complete(&completions).await.expect("answers"), to_complete.len());
        let again: Vec<_> = keys.iter().map(|key| claim_request(key, Token::random(), LONG)).collect();
        for (place, answer) in claim(&bench, &again).await.iter().enumerate() {
            if place % 3 == 2 {
                let (fence, _) = expect_claimed(answer);
                assert!(fence > fences[place].0, "place {place} of {size}");
            } else {
                let reply = expect_completed(answer).1;
                assert_eq!(reply, Some(place.to_string().into()), "place {place} of {size}");
            }
        }
    }
}

/// As if each had come alone, one after the other.
pub async fn equal_keys_in_a_batch_are_handled_in_order(harness: &dyn Harness) {
    for size in SIZES {
        let bench = Bench::new(harness).await;
        let size = size.min(bench.store.max_batch());
        // Each key comes twice in a row; the last one alone where the size is odd.
        let keys: Vec<RecordKey> = (0..size).map(|place| bench.key(&format!("pair {}", place / 2))).collect();
        let tokens: Vec<Token> = keys.iter().map(|_| Token::random()).collect();
        let claims: Vec<_> =
            keys.iter().zip(&tokens).map(|(key, token)| claim_request(key, *token, LONG)).collect();
        for (place, answer) in claim(&bench, &claims).await.iter().enumerate() {
            if place % 2 == 0 {
                expect_claimed(answer);
            } else {
                expect_in_progress(answer);
            }
        }
        let completions: Vec<_> =
            keys.iter().zip(&tokens).map(|(key, token)| complete_request(key, *token)).collect();
        let answers = bench.store.complete(&completions).await.expect("answers");
        for (place, answer) in answers.into_iter().enumerate() {
            let expected = if place % 2 == 0 { Answer::Done } else { Answer::Lost };
            assert_eq!(answer.expect("an answer"), expected, "place {place} of {size}");
        }
    }
    repeated_requests(harness).await;
}

/// Also with one token: a copy of a request in the same batch, and a release that must count once.
async fn repeated_requests(harness: &dyn Harness) {
    let bench = Bench::new(harness).await;
    let (key, token) = (bench.key("copies"), Token::random());
    let copies: [ClaimRequest; 3] = std::array::from_fn(|_| claim_request(&key, token, LONG));
    let claims = claim(&bench, &copies).await;
    assert!(claims.iter().all(|claim| *claim == claims[0]), "{claims:?}");
    let copies: [ReleaseRequest; 3] =
        std::array::from_fn(|_| ReleaseRequest { attempts: Attempts::Count, ..release_request(&key, token) });
    all_done(bench.store.release(&copies).await.expect("answers"), 3);
    assert_eq!(bench.claimed(&key, LONG).await.2, 2, "three copies of a release count one attempt");
}

/// No entries, no answers, no error.
pub async fn an_empty_batch_has_no_answers(harness: &dyn Harness) {
    let bench = Bench::new(harness).await;
    assert!(bench.store.claim(&[]).await.expect("an answer").is_empty());
    assert!(bench.store.renew(&[]).await.expect("an answer").is_empty());
    assert!(bench.store.complete(&[]).await.expect("an answer").is_empty());
    assert!(bench.store.release(&[]).await.expect("an answer").is_empty());
}

async fn claim(bench: &Bench<'_>, batch: &[ClaimRequest]) -> Vec<Claim> {
    let answers = bench.store.claim(batch).await.expect("answers");
    assert_eq!(answers.len(), batch.len());
    answers.into_iter().map(|answer| answer.expect("an answer")).collect()
}

/// A few keys' records say what the batch's answer said at their place.
async fn expect_fences(bench: &Bench<'_>, keys: &[RecordKey], fences: &[(crate::record::Fence, u32)]) {
    for place in [0, keys.len() / 2, keys.len() - 1] {
        let record = bench.store.read(&keys[place]).await.expect("an answer").expect("a record");
        assert_eq!(record.fence, fences[place].0, "place {place} of {}", keys.len());
    }
}

#[track_caller]
fn all_done(answers: Vec<Result<Answer, crate::store::StoreError>>, expected: usize) {
    assert_eq!(answers.len(), expected);
    for answer in answers {
        assert_eq!(answer.expect("an answer"), Answer::Done);
    }
}

//! The number of attempts is idem's: only a failed run counts, and only once.

use super::super::Harness;
use super::super::bench::{Bench, LONG, PAST_SHORT, SHORT, release_request};
use crate::store::{Answer, Attempts, ReleaseRequest};

/// Each release says what becomes of the number.
pub async fn attempts_are_counted_kept_and_reset(harness: &dyn Harness) {
    let bench = Bench::new(harness).await;
    let key = bench.key("attempts");
    let steps = [
        (1, Attempts::Keep),
        (1, Attempts::Count),
        (2, Attempts::Count),
        (3, Attempts::Keep),
        (3, Attempts::Count),
        (4, Attempts::Reset),
        (1, Attempts::Count),
        (2, Attempts::Keep),
    ];
    for (step, (expected, release)) in steps.into_iter().enumerate() {
        let (token, _, attempt) = bench.claimed(&key, LONG).await;
        assert_eq!(attempt, expected, "step {step}");
        assert_eq!(bench.release(&key, token, release).await, Answer::Done);
    }
    // 256 is where a number of one byte would end, and a text form would sort wrong.
    for expected in 2..=300 {
        let (token, _, attempt) = bench.claimed(&key, LONG).await;
        assert_eq!(attempt, expected);
        assert_eq!(bench.release(&key, token, Attempts::Count).await, Answer::Done);
    }
}

/// A release whose reply was lost is asked for again.
pub async fn attempts_are_not_counted_twice_by_a_repeated_release(harness: &dyn Harness) {
    let bench = Bench::new(harness).await;
    let key = bench.key("released again");
    let (token, ..) = bench.claimed(&key, LONG).await;
    for _ in 0..3 {
        assert_eq!(bench.release(&key, token, Attempts::Count).await, Answer::Done);
    }
    let record = bench.store.read(&key).await.expect("an answer").expect("a record");
    assert_eq!(record.attempts, 1);
    let (_, _, attempt) = bench.claimed(&key, LONG).await;
    assert_eq!(attempt, 2);
}

/// A crash, a renewal and a repeated claim cost nothing and forget nothing.
pub async fn attempts_survive_a_crash_and_are_not_counted_by_it(harness: &dyn Harness) {
    let bench = Bench::new(harness).await;
    let key = bench.key("crashing");
    let (token, ..) = bench.claimed(&key, LONG).await;
    assert_eq!(bench.release(&key, token, Attempts::Count).await, Answer::Done);
    for _ in 0..2 {
        let (token, _, attempt) = bench.claimed(&key, SHORT).await;
        assert_eq!(attempt, 2);
        assert_eq!(bench.renew(&key, token, SHORT).await, Answer::Done);
        bench.pass(PAST_SHORT).await;
    }
    let (_, _, attempt) = bench.claimed(&key, LONG).await;
    assert_eq!(attempt, 2);
}

/// A released record lives for its own retention.
pub async fn attempts_are_forgotten_after_retention(harness: &dyn Harness) {
    let bench = Bench::new(harness).await;
    let (kept, forgotten) = (bench.key("kept"), bench.key("forgotten"));
    for (key, retention) in [(&kept, LONG), (&forgotten, SHORT)] {
        let (token, ..) = bench.claimed(key, SHORT).await;
        let request = ReleaseRequest { retention, attempts: Attempts::Count, ..release_request(key, token) };
        assert_eq!(bench.try_release(request).await.expect("an answer"), Answer::Done);
    }
    bench.pass(PAST_SHORT).await;
    assert_eq!(bench.claimed(&kept, LONG).await.2, 2);
    assert_eq!(bench.claimed(&forgotten, LONG).await.2, 1);
}

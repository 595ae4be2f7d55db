//! Invariant 7: fences grow.

use std::time::Duration;

use super::super::Harness;
use super::super::bench::{Bench, LONG, PAST_SHORT, SHORT, bare};
use crate::record::{Fence, State, Token};
use crate::store::{Answer, Attempts};

/// From claim to claim of a key, whatever ended the one before; and over the record's end.
pub async fn invariant_7_fences_grow(harness: &dyn Harness) {
    let bench = Bench::new(harness).await;
    let key = bench.key("fenced");
    let (token, first, _) = bench.claimed(&key, LONG).await;
    assert_eq!(bench.release(&key, token, Attempts::Keep).await, Answer::Done);
    let (_, second, _) = bench.claimed(&key, SHORT).await;
    assert!(second > first, "{second} after {first}, which was released");
    bench.pass(PAST_SHORT).await;
    let (token, third, _) = bench.claimed(&key, LONG).await;
    assert!(third > second, "{third} after {second}, which lapsed");
    assert_eq!(bench.complete(&key, token, SHORT).await, Answer::Done);
    bench.pass(PAST_SHORT).await;
    let (_, fourth, _) = bench.claimed(&key, LONG).await;
    assert!(fourth > third, "{fourth} after {third}, whose record is gone");
    let record = bench.store.read(&key).await.expect("an answer").expect("a record");
    assert_eq!(record.fence, fourth, "the record says what the claimer was told");
    let year_2020 = Fence(1_577_836_800_000_000);
    assert!(first > year_2020, "{first} is no clock in µs");
}

/// Also when the clock is behind the last claim's, as after a step back. Where the harness can plant a record.
pub async fn invariant_7_fences_grow_when_the_clock_steps_back(harness: &dyn Harness) {
    let bench = Bench::new(harness).await;
    for state in [State::Released, State::InProgress] {
        let key = bench.key(&format!("{state:?}"));
        // In the year 2128, and the lease is long over.
        let (fence, lease_end) = (Fence(5_000_000_000_000_001), Duration::from_secs(1));
        let (token, attempts) = (Token::random(), 7);
        let record = bare(state, token, fence, attempts, lease_end);
        if !harness.plant(&key, &record.encode()).await {
            return;
        }
        let (_, next, attempt) = bench.claimed(&key, LONG).await;
        assert_eq!((next, attempt), (Fence(fence.0 + 1), attempts + 1));
    }
}

/// Also faster than the clock ticks.
pub async fn invariant_7_fences_grow_in_bursts(harness: &dyn Harness) {
    let bench = Bench::new(harness).await;
    let key = bench.key("burst");
    let mut last = Fence(0);
    for _ in 0..200 {
        let (token, fence, _) = bench.claimed(&key, LONG).await;
        assert!(fence > last, "{fence} after {last}");
        last = fence;
        assert_eq!(bench.release(&key, token, Attempts::Keep).await, Answer::Done);
    }
}

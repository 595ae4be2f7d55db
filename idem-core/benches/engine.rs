//! The engine's cost with the memory store, from claim to settle and without decoding.
//!
//! `cargo bench -p idem-core --bench engine`
//!
//! One thread handles batches of 32 fresh keys. Printed are CPU time and allocations for each message; the
//! allocations of the key and of the store's record are measured apart and taken off.

mod messages;

use std::alloc::System;
use std::time::Duration;

use idem_core::store::{ClaimRequest, CompleteRequest};
use idem_core::{Fence, MemoryStore, Namespace, Store, Token};
use rustix::time::{ClockId, clock_gettime};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

use self::messages::{BATCH, call, gate, key, namespace, runtime};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const BATCHES: usize = 10_000;
#[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
const MESSAGES: f64 = (BATCH * BATCHES) as f64;

fn main() {
    let (runtime, namespace) = (runtime(), namespace());
    println!("{BATCHES} batches of {BATCH} fresh keys on one thread; best of 5");
    println!("{:<44} {:>10} {:>14}", "", "ns/message", "allocs/message");
    let keys = best(|round| {
        (0..BATCHES * BATCH).for_each(|i| drop(std::hint::black_box(key(&namespace, round, i))));
    });
    row("the key", &keys);
    let store = best(|round| {
        let store = MemoryStore::builder().capacity(2 * BATCH * BATCHES).build();
        runtime.block_on(async {
            for batch in 0..BATCHES {
                raw(&store, &namespace, round, batch).await;
            }
        });
    });
    row("the key, claim and complete on the store alone", &store);
    let engine = best(|round| {
        let gate = gate(&runtime, 2 * BATCH * BATCHES);
        runtime.block_on(async {
            for batch in 0..BATCHES {
                call(&gate, (0..BATCH).map(|i| key(&namespace, round, batch * BATCH + i))).await;
            }
        });
    });
    row("the key and the engine, from claim to settle", &engine);
    println!(
        "\nengine without the key: {:.2} µs of CPU a message; {:.2} allocations beyond the key and the record",
        (engine.nanos - keys.nanos) / 1_000.0,
        engine.allocations - store.allocations,
    );
}

struct Cost {
    nanos: f64,
    allocations: f64,
}

fn best(mut work: impl FnMut(usize)) -> Cost {
    let mut best = Cost { nanos: f64::MAX, allocations: f64::MAX };
    for round in 0..5 {
        let region = Region::new(ALLOCATOR);
        let begun = cpu();
        work(round);
        let took = cpu().saturating_sub(begun);
        #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
        let allocations = region.change().allocations as f64 / MESSAGES;
        best.nanos = best.nanos.min(took.as_secs_f64() * 1e9 / MESSAGES);
        best.allocations = best.allocations.min(allocations);
    }
    best
}

/// The CPU time of the whole process: idem's own threads count.
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap_or_default(), time.tv_nsec.try_into().unwrap_or_default())
}

fn row(what: &str, cost: &Cost) {
    println!("{what:<44} {:>10.0} {:>14.2}", cost.nanos, cost.allocations);
}

async fn raw(store: &MemoryStore, namespace: &Namespace, round: usize, batch: usize) {
    let (lease, retention) = (Duration::from_secs(30), Duration::from_hours(96));
    let request = |i| {
        let key = key(namespace, round, batch * BATCH + i);
        ClaimRequest::new(key, Token::random(), lease, retention, idem_core::MemberId::random())
    };
    let claims: Vec<_> = (0..BATCH).map(request).collect();
    store.claim(&claims).await.expect("the memory store answers");
    let complete = |claim: &ClaimRequest| {
        CompleteRequest::new(claim.key.clone(), claim.token, Fence(1), retention, claim.member)
    };
    let completions: Vec<_> = claims.iter().map(complete).collect();
    store.complete(&completions).await.expect("the memory store answers");
}

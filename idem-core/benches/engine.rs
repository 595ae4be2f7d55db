//! The engine's cost with the memory store, from claim to settle and without decoding.
//!
//! `cargo bench -p idem-core --bench engine`
//!
//! One thread handles batches of 32 fresh keys. Printed are CPU time and allocations for each message; the
//! allocations of the key and of the store's record are measured apart and taken off.

use std::alloc::System;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use idem_core::engine::{Admission, Engine, Gate};
use idem_core::store::{ClaimRequest, CompleteRequest};
use idem_core::{
    Clock, Fence, IdempotencyKey, Job, MemoryStore, Namespace, RecordKey, Settings, Store, Token,
};
use rustix::time::{ClockId, clock_gettime};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const BATCH: usize = 32;
const BATCHES: usize = 10_000;
#[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
const MESSAGES: f64 = (BATCH * BATCHES) as f64;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let namespace = Namespace::new(["", "bench", "topic", "orders", "PAID"]);
    println!("{BATCHES} batches of {BATCH} fresh keys on one thread; best of 5");
    println!("{:<44} {:>10} {:>14}", "", "ns/message", "allocs/message");
    let key = best(|round| {
        (0..BATCHES * BATCH).for_each(|i| drop(std::hint::black_box(key(&namespace, round, i))));
    });
    row("the key", &key);
    let store = best(|round| {
        let store = store();
        runtime.block_on(async {
            for batch in 0..BATCHES {
                raw(&store, &namespace, round, batch).await;
            }
        });
    });
    row("the key, claim and complete on the store alone", &store);
    let engine = best(|round| {
        let engine = Engine::with(Arc::new(store_of()), Clock::boot(), runtime.handle().clone());
        let gate = engine.gate("bench", Settings::new().resolve().expect("the defaults agree"));
        runtime.block_on(async {
            for batch in 0..BATCHES {
                handle(&gate, &namespace, round, batch).await;
            }
        });
    });
    row("the key and the engine, from claim to settle", &engine);
    println!(
        "\nengine without the key: {:.2} µs of CPU a message; {:.2} allocations beyond the key and the record",
        (engine.nanos - key.nanos) / 1_000.0,
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

fn store() -> MemoryStore {
    store_of()
}

fn store_of() -> MemoryStore {
    MemoryStore::builder().capacity(2 * BATCH * BATCHES).build()
}

fn key(namespace: &Namespace, round: usize, i: usize) -> RecordKey {
    let mut text = *b"order-0-00000000";
    let mut rest = i;
    for digit in text[8..].iter_mut().rev() {
        *digit = b'0' + u8::try_from(rest % 10).unwrap_or_default();
        rest /= 10;
    }
    text[6] = b'0' + u8::try_from(round).unwrap_or_default();
    RecordKey::new(namespace.clone(), IdempotencyKey::new(&text[..]).expect("a short key"))
}

async fn raw(store: &MemoryStore, namespace: &Namespace, round: usize, batch: usize) {
    let (lease, retention) = (Duration::from_secs(30), Duration::from_hours(96));
    let request = |i| {
        let key = key(namespace, round, batch * BATCH + i);
        ClaimRequest { key, token: Token::random(), lease, retention, fingerprint: None }
    };
    let claims: Vec<_> = (0..BATCH).map(request).collect();
    store.claim(&claims).await.expect("the memory store answers");
    let complete = |claim: &ClaimRequest| CompleteRequest {
        key: claim.key.clone(),
        token: claim.token,
        fence: Fence(1),
        retention,
        fingerprint: None,
        reply: None,
    };
    let completions: Vec<_> = claims.iter().map(complete).collect();
    store.complete(&completions).await.expect("the memory store answers");
}

async fn handle(gate: &Gate, namespace: &Namespace, round: usize, batch: usize) {
    let mut leaders: VecDeque<_> = (0..BATCH)
        .map(|i| {
            let key = key(namespace, round, batch * BATCH + i);
            let job = Job { key, fingerprint: None, redeliveries: 0, failures: 0 };
            gate.enter(job).into_leader().expect("fresh keys lead")
        })
        .collect();
    let mut finished = Vec::with_capacity(BATCH);
    for admission in gate.claim(&mut leaders).await {
        match admission {
            Admission::Run(claimed) => finished.push(claimed.run(|_, _| async { Ok(()) }).await),
            other => unreachable!("fresh keys run: {other:?}"),
        }
    }
    for settled in gate.settle(finished).await {
        assert_eq!(settled.decision.verdict, idem_core::Verdict::Ack);
    }
}

//! Messages without a broker and without payloads: their keys, and a listener call of them through the engine.

use std::collections::VecDeque;
use std::sync::Arc;

use idem_core::engine::{Admission, Engine, Entry, Gate, RunProgress};
use idem_core::{Clock, IdempotencyKey, Job, MemoryStore, Namespace, RecordKey, Settings, Verdict};
use tokio::runtime::{Builder, Runtime};

/// The messages of a listener call under load.
pub(crate) const BATCH: usize = 32;

pub(crate) fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

pub(crate) fn namespace() -> Namespace {
    Namespace::new(["", "bench", "topic", "orders", "PAID"])
}

pub(crate) fn key(namespace: &Namespace, round: usize, i: usize) -> RecordKey {
    let mut text = *b"order-0-00000000";
    let mut rest = i;
    for digit in text[8..].iter_mut().rev() {
        *digit = b'0' + u8::try_from(rest % 10).unwrap_or_default();
        rest /= 10;
    }
    text[6] = b'0' + u8::try_from(round).unwrap_or_default();
    RecordKey::new(namespace.clone(), IdempotencyKey::new(&text[..]).expect("a short key"))
}

/// A gate over a memory store with room for so many records.
pub(crate) fn gate(runtime: &Runtime, capacity: usize) -> Gate {
    let store = MemoryStore::builder().capacity(capacity).build();
    let engine = Engine::with(Arc::new(store), Clock::boot(), runtime.handle().clone());
    engine.gate("bench", Settings::new().resolve().expect("the defaults agree"))
}

/// One listener call: its messages enter together, and those that are new run a handler that does nothing, begun as the
/// listener begins it.
pub(crate) async fn call(gate: &Gate, keys: impl ExactSizeIterator<Item = RecordKey>) {
    let mut leaders = VecDeque::with_capacity(keys.len());
    for key in keys {
        match gate.enter(Job::new(key)) {
            Entry::Leader(leader) => leaders.push_back(leader),
            Entry::Decided(settled) => assert_eq!(settled.decision.verdict, Verdict::Ack),
            Entry::Follower(_) => unreachable!("no key comes twice in a call"),
        }
    }
    let mut finished = Vec::with_capacity(leaders.len());
    for admission in gate.claim(&mut leaders).await {
        match admission {
            Admission::Run(claimed) => match claimed.begin(|_, _| Box::pin(async { Ok(()) })) {
                RunProgress::Over(run) => finished.push(run),
                RunProgress::Going(_) => unreachable!("the handler waits for nothing"),
            },
            Admission::Decided(settled) => assert_eq!(settled.decision.verdict, Verdict::Ack),
            Admission::Later(_) => unreachable!("the memory store answers"),
        }
    }
    for settled in gate.settle(finished).await {
        assert_eq!(settled.decision.verdict, Verdict::Ack);
    }
}

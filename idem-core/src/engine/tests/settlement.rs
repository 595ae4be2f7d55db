//! The fate of a run that is dropped, and the order in which the store hears of one token.

use std::sync::mpsc;
use std::time::Instant;

use futures_util::FutureExt as _;

use super::*;
use crate::State;
use crate::engine::{Finished, Leader};
use crate::store::Store as _;

/// Fewer than start a round trip beside another.
const MANY: usize = 24;

fn leaders(gate: &Gate, names: std::ops::Range<usize>) -> VecDeque<Leader> {
    let enter = |name: usize| gate.enter(job(&name.to_string())).into_leader().expect("fresh keys lead");
    names.map(enter).collect()
}

/// Runs that have ended with `result` and are not settled.
async fn finished(
    gate: &Gate,
    names: std::ops::Range<usize>,
    result: impl Fn() -> HandlerResult,
) -> Vec<Finished> {
    let mut finished = Vec::new();
    for admission in gate.claim(&mut leaders(gate, names)).await {
        let Admission::Run(claimed) = admission else { panic!("fresh keys run: {admission:?}") };
        finished.push(claimed.run(|_, _| async { result() }).await);
    }
    finished
}

async fn states(store: &FaultyStore, names: std::ops::Range<usize>) -> Vec<State> {
    let mut states = Vec::new();
    for name in names {
        states.push(store.read(&key(&name.to_string())).await.unwrap().unwrap().state);
    }
    states
}

#[tokio::test(start_paused = true)]
async fn invariant_8_what_is_dropped_behind_an_ok_is_completed() {
    let (engine, store) = engine();
    let gate = gate(&engine, Settings { concurrency: Some(4 * MANY), ..Settings::new() });
    store.delay("complete", secs(2));
    // The first completion is on its way, and the others wait in the lane for its answer.
    let runs = finished(&gate, 0..MANY, || Ok(())).await;
    let mut settling = Vec::new();
    for run in runs {
        let mut one = gate.settle_one(run).boxed();
        assert!((&mut one).now_or_never().is_none());
        settling.push(one);
        if settling.len() == 1 {
            tokio::time::sleep(secs(1)).await;
        }
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(store.sizes("complete"), [1], "the others wait");
    drop(settling);
    // Settled together, never polled, and never settled.
    let mut together = gate.settle(finished(&gate, MANY..MANY + 8, || Ok(())).await).boxed();
    assert!((&mut together).now_or_never().is_none());
    drop(together);
    drop(gate.settle(finished(&gate, MANY + 8..MANY + 16, || Ok(())).await));
    drop(finished(&gate, MANY + 16..MANY + 24, || Ok(())).await);
    tokio::time::sleep(secs(20)).await;
    assert_eq!(states(&store, 0..MANY + 24).await, vec![State::Completed; MANY + 24]);
    assert!(store.sizes("release").is_empty(), "nothing is given back behind an Ok");
    assert_eq!(succeed(&gate, job("0")).await.outcome, Outcome::Duplicate);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_key_that_was_dropped_behind_its_ok_is_its_duplicate() {
    let (engine, store) = engine();
    let gate = gate(&engine, Settings::new());
    let run = finished(&gate, 0..1, || Ok(())).await;
    store.delay("complete", secs(2));
    let waits = tokio::spawn({
        let gate = gate.clone();
        async move { succeed(&gate, job("0")).await }
    });
    tokio::task::yield_now().await;
    drop(run);
    assert_eq!(waits.await.unwrap().outcome, Outcome::Duplicate);
}

#[tokio::test(start_paused = true)]
async fn invariant_8_a_completion_that_was_not_answered_before_the_stop_is_asked_for_on_and_on() {
    let (engine, store) = engine();
    let gate = gate(&engine, Settings::new());
    let run = finished(&gate, 0..1, || Ok(())).await.remove(0);
    store.go_down();
    let settling = tokio::spawn({
        let gate = gate.clone();
        async move { gate.settle_one(run).await.decision }
    });
    tokio::time::sleep(secs(10)).await;
    engine.stop();
    let decision = settling.await.unwrap();
    assert_eq!((decision.verdict, decision.outcome), (Verdict::Leave, Outcome::CompletionLost));
    tokio::time::sleep(secs(300)).await;
    store.come_back();
    tokio::time::sleep(secs(2)).await;
    assert_eq!(states(&store, 0..1).await, [State::Completed]);
    assert!(store.sizes("release").is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_failed_run_that_is_dropped_has_cost_its_attempt() {
    let (engine, _) = engine();
    let gate = gate(&engine, Settings::new());
    drop(finished(&gate, 0..1, || Err("no".into())).await);
    tokio::time::sleep(secs(1)).await;
    assert_eq!(succeed(&gate, job("0")).await.attempt, 2);
}

#[tokio::test(start_paused = true)]
async fn a_claim_under_way_is_not_overtaken_by_its_release() {
    let store = Arc::new(FaultyStore::new());
    let (first, second) =
        (gate(&engine_over(&store), Settings::new()), gate(&engine_over(&store), Settings::new()));
    store.delay("claim", secs(2));
    let mut leaders = leaders(&first, 0..2);
    let claiming = first.claim(&mut leaders);
    assert!(tokio::time::timeout(secs(1), claiming).await.is_err());
    store.delay("claim", Duration::ZERO);
    tokio::time::sleep(secs(5)).await;
    for name in ["0", "1"] {
        let decision = succeed(&second, job(name)).await;
        assert_eq!((decision.outcome, decision.attempt), (Outcome::Completed, 1), "the key is free");
    }
    assert_eq!(store.overtaken.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn no_operation_of_a_token_overtakes_another() {
    let (engine, store) = engine();
    let gate = gate(&engine, Settings::new());
    // The lease of 30 s is renewed after 10 s, which takes 5 s, and meanwhile the run is over.
    store.delay("renew", secs(5));
    let takes = |time: u64, result: fn() -> HandlerResult| {
        move |_, _| async move {
            tokio::time::sleep(secs(time)).await;
            result()
        }
    };
    let completed = handle(&gate, job("a"), takes(12, || Ok(()))).await.decision;
    let failed = handle(&gate, job("b"), takes(12, || Err("no".into()))).await.decision;
    assert_eq!((completed.outcome, failed.outcome), (Outcome::Completed, Outcome::Failed));
    // Together with others that nothing is under way for.
    let mut runs = finished(&gate, 0..3, || Ok(())).await;
    let Entry::Leader(leader) = gate.enter(job("c")) else { panic!("fresh keys lead") };
    let Admission::Run(claimed) = gate.claim(&mut VecDeque::from([leader])).await.remove(0) else {
        panic!("fresh keys run")
    };
    runs.insert(1, claimed.run(takes(12, || Ok(()))).await);
    let mut told = Vec::new();
    gate.settle_each(runs, |place, settled| told.push((place, settled.decision.outcome))).await;
    assert_eq!(
        told,
        [0, 2, 3, 1].map(|place| (place, Outcome::Completed)),
        "one that waits holds up no other"
    );
    // Dropped while it is renewed.
    let dropped = handle(&gate, job("d"), takes(60, || Ok(())));
    assert!(tokio::time::timeout(secs(12), dropped).await.is_err());
    tokio::time::sleep(secs(10)).await;
    assert_eq!(succeed(&gate, job("d")).await.outcome, Outcome::Completed);
    assert_eq!(store.sizes("renew").len(), 4);
    assert_eq!(store.overtaken.load(Ordering::SeqCst), 0);
}

#[test]
fn a_completion_is_asked_for_again_while_the_users_runtime_is_blocked() {
    // Real time and two real runtimes.
    let store = Arc::new(FaultyStore::new());
    let engine = Engine::new(store.clone());
    let gate = gate(&engine, Settings::new());
    let user = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (unblock, blocked) = mpsc::channel::<()>();
    let run = user.block_on(finished(&gate, 0..1, || Ok(()))).remove(0);
    store.go_down();
    let settling = user.spawn(async move { gate.settle_one(run).await.decision });
    until("the store has failed", || !store.sizes("complete").is_empty());
    user.spawn(async move {
        let _ = blocked.recv();
    });
    std::thread::sleep(Duration::from_millis(50));
    store.come_back();
    until("the completion is recorded", || {
        futures_util::FutureExt::now_or_never(store.read(&key("0")))
            .is_some_and(|record| record.unwrap().unwrap().state == State::Completed)
    });
    drop(unblock);
    assert_eq!(user.block_on(settling).unwrap().outcome, Outcome::Completed);
}

fn until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < secs(20), "not within 20 s: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

//! Runs that wait for their first poll: their handler has not begun, so they cost nothing and keep their lease.

use futures_util::FutureExt as _;

use super::*;
use crate::engine::ClaimedRun;
use crate::store::Store as _;

fn settings() -> Settings {
    Settings { timeout: Some(secs(5)), max_attempts: Some(1), ..Settings::new() }
}

async fn claimed(gate: &Gate, name: &str) -> ClaimedRun {
    let Entry::Leader(leader) = gate.enter(job(name)) else { panic!("fresh keys lead") };
    match gate.claim(&mut VecDeque::from([leader])).await.remove(0) {
        Admission::Run(claimed) => claimed,
        other => panic!("fresh keys run: {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn invariant_8_the_time_of_a_run_begins_with_its_first_poll() {
    let store = Arc::new(FaultyStore::new());
    let (gate, other) = (gate(&engine_over(&store), settings()), gate(&engine_over(&store), settings()));
    let (waits, begins) = (claimed(&gate, "a").await, claimed(&gate, "b").await);
    // A hundred time-outs, and many leases.
    tokio::time::sleep(secs(500)).await;
    assert_eq!(
        succeed(&other, job("a")).await.outcome,
        Outcome::InProgress,
        "its lease is renewed meanwhile"
    );
    let work = |_, _| async {
        tokio::time::sleep(secs(4)).await;
        Ok(())
    };
    let finished = waits.run(work).await;
    assert_eq!(finished.took().map(|took| took.as_secs()), Some(4));
    assert_eq!(gate.settle_one(finished).await.decision.outcome, Outcome::Completed);
    let crate::engine::RunProgress::Going(run) =
        begins.begin(|_, _| Box::pin(tokio::time::sleep(secs(9)).map(Ok)))
    else {
        panic!("it waits")
    };
    let finished = run.await;
    assert_eq!(
        finished.took().map(|took| took.as_secs()),
        Some(5),
        "the time-out counts from the first poll"
    );
    let decision = gate.settle_one(finished).await.decision;
    assert_eq!((decision.verdict, decision.outcome), (Verdict::DeadLetter, Outcome::Exhausted));
}

/// Not exhausted, either: that says how many attempts were used up.
fn assert_first(decision: &Decision) {
    assert_eq!((decision.outcome, decision.attempt), (Outcome::Completed, 1));
}

#[tokio::test(start_paused = true)]
async fn invariant_8_what_was_never_polled_is_no_attempt() {
    let (engine, store) = engine();
    let gate = gate(&engine, settings());
    let (dropped, late) = (claimed(&gate, "a").await, claimed(&gate, "b").await);
    tokio::time::sleep(secs(100)).await;
    drop(dropped);
    tokio::time::sleep(secs(1)).await;
    assert_first(&succeed(&gate, job("a")).await);
    // Its lease cannot be renewed any more.
    store.go_down();
    tokio::time::sleep(secs(40)).await;
    store.come_back();
    let never = |_, _| -> std::future::Ready<HandlerResult> { panic!("it is too late") };
    let finished = late.run(never).await;
    assert_eq!(finished.took(), None, "it is no run for the metrics either");
    assert_eq!(gate.settle_one(finished).await.decision.outcome, Outcome::LeaseLost);
    assert_first(&succeed(&gate, job("b")).await);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_has_not_begun_when_the_engine_stops_does_not_begin() {
    let (engine, store) = engine();
    let gate = gate(&engine, settings());
    let (first, second) = (claimed(&gate, "a").await, claimed(&gate, "b").await);
    engine.stop();
    let finished = first.run(|_, _| -> std::future::Ready<HandlerResult> { panic!("it is stopped") }).await;
    assert_eq!(gate.settle_one(finished).await.decision.outcome, Outcome::Shutdown);
    let begun = second.begin(|_, _| -> std::future::Ready<HandlerResult> { panic!("it is stopped") });
    let crate::engine::RunProgress::Over(finished) = begun else { panic!("it does not run") };
    assert_eq!(gate.settle_one(finished).await.decision.outcome, Outcome::Shutdown);
    for name in ["a", "b"] {
        assert_eq!(store.read(&key(name)).await.unwrap().unwrap().attempts, 0);
    }
}

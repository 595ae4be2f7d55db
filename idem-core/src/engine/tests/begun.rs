//! Runs that are begun where they are claimed, as the listener begins them.

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::*;
use crate::engine::{ClaimedRun, RunProgress};

async fn claimed(gate: &Gate, name: &str) -> ClaimedRun {
    let Entry::Leader(leader) = gate.enter(job(name)) else { panic!("fresh keys lead") };
    match gate.claim(&mut VecDeque::from([leader])).await.remove(0) {
        Admission::Run(claimed) => claimed,
        other => panic!("fresh keys run: {other:?}"),
    }
}

/// Whether the handler was over at once, and what became of the message.
async fn begun(gate: &Gate, name: &str, work: fn() -> BoxFuture<'static, HandlerResult>) -> (bool, Outcome) {
    let (is_over, finished) = match claimed(gate, name).await.begin(move |_, _| work()) {
        RunProgress::Over(finished) => (true, finished),
        RunProgress::Going(run) => (false, run.await),
    };
    (is_over, gate.settle_one(finished).await.decision.outcome)
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_begun_where_it_is_claimed_ends_as_any_other() {
    let (engine, _) = engine();
    let gate = gate(&engine, Settings { timeout: Some(secs(5)), ..Settings::new() });
    assert_eq!(begun(&gate, "ok", || async { Ok(()) }.boxed()).await, (true, Outcome::Completed));
    assert_eq!(begun(&gate, "error", || async { Err("no".into()) }.boxed()).await, (true, Outcome::Failed));
    assert_eq!(
        begun(&gate, "panic", || async { panic!("at once") }.boxed()).await,
        (true, Outcome::Panicked)
    );
    assert_eq!(begun(&gate, "before", || panic!("before the future")).await, (true, Outcome::Panicked));
    let waits = || tokio::time::sleep(secs(1)).map(Ok).boxed();
    assert_eq!(begun(&gate, "waits", waits).await, (false, Outcome::Completed));
    let for_ever = || std::future::pending().boxed();
    assert_eq!(begun(&gate, "for ever", for_ever).await, (false, Outcome::TimedOut));
    assert_eq!(succeed(&gate, job("ok")).await.outcome, Outcome::Duplicate);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_run_that_was_begun_and_waits_gives_its_key_back() {
    let (engine, _) = engine();
    let gate = gate(&engine, Settings::new());
    let run = claimed(&gate, "a").await.begin(|_, _| std::future::pending().boxed());
    assert!(matches!(run, RunProgress::Going(_)));
    drop(run);
    tokio::time::sleep(secs(1)).await;
    assert_eq!(succeed(&gate, job("a")).await.attempt, 1);
}

#[tokio::test(start_paused = true)]
async fn invariant_4_no_handler_is_begun_behind_its_local_deadline() {
    let (engine, store) = engine();
    let gate = gate(&engine, Settings::new());
    let claimed = claimed(&gate, "a").await;
    store.go_down();
    // The lease is 30 s, trusted for 27.
    tokio::time::sleep(secs(28)).await;
    store.come_back();
    let begun = claimed.begin(|_, _| -> BoxFuture<'static, HandlerResult> { panic!("it is too late") });
    let RunProgress::Over(finished) = begun else { panic!("it does not run") };
    assert_eq!(gate.settle_one(finished).await.decision.outcome, Outcome::LeaseLost);
}

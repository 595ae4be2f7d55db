//! The rows of the verdict table that need no broker.

use super::*;
use crate::engine::Unfit;
use crate::store::{ClaimRequest, Store as _};
use crate::{
    FingerprintMismatch, InProgress, MissingKey, Reject, Retry, State, StoreFailure, Token, Undecodable,
};

#[tokio::test(start_paused = true)]
async fn panics_and_time_outs_count_as_failed_attempts() {
    let (engine, _) = engine();
    let gate = gate(&engine, Settings { max_attempts: Some(3), ..Settings::new() });
    let panicked = handle(&gate, job("a"), |_, _| async { panic!("payload in here") }).await.decision;
    assert_eq!((panicked.verdict, panicked.outcome), (Verdict::Retry(secs(10)), Outcome::Panicked));
    assert!(!panicked.reason.unwrap().contains("payload"));
    let begun = tokio::time::Instant::now();
    let timed_out = handle(&gate, job("a"), |_, _| std::future::pending()).await.decision;
    assert_eq!(
        (timed_out.verdict, timed_out.outcome, timed_out.attempt),
        (Verdict::Retry(secs(30)), Outcome::TimedOut, 2)
    );
    assert!(begun.elapsed() >= secs(300) && begun.elapsed() < secs(302));
    let last = fail(&gate, job("a")).await.decision;
    assert_eq!((last.verdict, last.outcome, last.attempt), (Verdict::DeadLetter, Outcome::Exhausted, 3));
}

#[tokio::test(start_paused = true)]
async fn a_panic_before_the_first_await_is_a_failed_attempt_too() {
    let (engine, _) = engine();
    let gate = gate(&engine, Settings::new());
    let work = |_, _| -> std::future::Ready<HandlerResult> { panic!("at once") };
    assert_eq!(handle(&gate, job("a"), work).await.decision.outcome, Outcome::Panicked);
    assert_eq!(succeed(&gate, job("a")).await.attempt, 2);
}

#[tokio::test(start_paused = true)]
async fn a_rejected_message_is_a_dead_letter_at_once_and_its_key_is_held_until_the_broker_has_it() {
    let (engine, store) = engine();
    let gate = gate(&engine, Settings::new());
    let rejected = handle(&gate, job("a"), |_, _| async { Err(Reject::new("no such order").into()) }).await;
    assert_eq!(
        (rejected.decision.verdict, rejected.decision.outcome),
        (Verdict::DeadLetter, Outcome::Rejected)
    );
    tokio::time::sleep(secs(120)).await;
    let record = store.read(&key("a")).await.unwrap().unwrap();
    assert_eq!(record.state, State::InProgress, "the lease is renewed while the dead letter is on its way");
    let other = super::gate(&engine_over(&store), Settings::new());
    assert_eq!(succeed(&other, job("a")).await.outcome, Outcome::InProgress);
    rejected.held.unwrap().release(&rejected.decision).await;
    assert_eq!(succeed(&gate, job("a")).await.outcome, Outcome::Completed, "a replay runs");
}

#[tokio::test(start_paused = true)]
async fn a_message_that_makes_room_for_others_is_sent_back_unclaimed_and_costs_no_attempt() {
    let (engine, store) = engine();
    let gate = gate(&engine, Settings { max_attempts: Some(1), ..Settings::new() });
    for _ in 0..3 {
        let leader = gate.enter(job("a")).into_leader().expect("nobody else has the key");
        let deferred = gate.defer(leader).decision;
        assert_eq!((deferred.outcome, deferred.attempt), (Outcome::Deferred, 0));
        assert!(matches!(deferred.verdict, Verdict::Retry(delay) if delay >= secs(10)), "{deferred:?}");
    }
    assert_eq!(store.sizes("claim"), [0; 0]);
    let done = succeed(&gate, job("a")).await;
    assert_eq!((done.outcome, done.attempt), (Outcome::Completed, 1));
}

#[tokio::test(start_paused = true)]
async fn a_handler_chooses_its_own_delay() {
    let (engine, _) = engine();
    let gate = gate(&engine, Settings::new());
    let work = |_, _| async { Err(Retry::after(secs(77)).into()) };
    assert_eq!(handle(&gate, job("a"), work).await.decision.verdict, Verdict::Retry(secs(77)));
}

#[tokio::test(start_paused = true)]
async fn a_key_in_progress_elsewhere_waits_for_its_lease_or_in_place() {
    let (engine, store) = engine();
    let claim = ClaimRequest::new(key("a"), Token::random(), secs(30), secs(99), crate::MemberId::random());
    store.claim(&[claim]).await.unwrap();
    let retrying = gate(&engine, Settings::new());
    let Verdict::Retry(after) = succeed(&retrying, job("a")).await.verdict else { panic!("not retried") };
    assert!(after > secs(29) && after <= secs(30));
    let late = Job { redeliveries: 40, ..job("a") };
    assert_eq!(
        succeed(&retrying, late).await.verdict,
        Verdict::Retry(secs(300)),
        "the backoff ends at the time-out"
    );
    let waiting =
        gate(&engine, Settings { in_progress: Some(InProgress::Wait(secs(60))), ..Settings::new() });
    let begun = tokio::time::Instant::now();
    assert_eq!(succeed(&waiting, job("a")).await.outcome, Outcome::Completed);
    assert!(begun.elapsed() >= secs(29) && begun.elapsed() < secs(31));
}

#[tokio::test(start_paused = true)]
async fn a_store_failure_at_claim_holds_runs_or_retries() {
    let (engine, store) = engine();
    store.go_down();
    let settings = |choice| Settings { store_failure: Some(choice), ..Settings::new() };
    let open = succeed(&gate(&engine, settings(StoreFailure::Open)), job("open")).await;
    assert_eq!((open.verdict, open.outcome), (Verdict::Ack, Outcome::CompletedWithoutDedup));
    let retry = succeed(&gate(&engine, settings(StoreFailure::Retry)), job("retry")).await;
    assert_eq!((retry.verdict, retry.outcome), (Verdict::Retry(secs(10)), Outcome::StoreFailed));

    let holding = gate(&engine, settings(StoreFailure::Hold));
    let mut held = Box::pin(succeed(&holding, job("hold")));
    assert!(
        tokio::time::timeout(secs(180), &mut held).await.is_err(),
        "nothing is decided while the store is down"
    );
    store.come_back();
    assert_eq!(held.await, Decision::new(Verdict::Ack, Outcome::Completed).attempt(1));
}

#[tokio::test(start_paused = true)]
async fn the_same_key_under_another_payload_is_noticed_where_it_is_asked_for() {
    for (choice, verdict) in [
        (FingerprintMismatch::DeadLetter, Verdict::DeadLetter),
        (FingerprintMismatch::Duplicate, Verdict::Ack),
        (FingerprintMismatch::Run, Verdict::Ack),
    ] {
        let (engine, _) = engine();
        let gate = gate(&engine, Settings { fingerprint: Some(choice), ..Settings::new() });
        succeed(&gate, job_with_payload("a", "one")).await;
        assert_eq!(succeed(&gate, job_with_payload("a", "one")).await.outcome, Outcome::Duplicate);
        let runs = Runs::default();
        let other =
            handle(&gate, job_with_payload("a", "two"), |_, _| async { runs.succeed() }).await.decision;
        assert_eq!(other.verdict, verdict);
        assert_eq!(runs.count(), usize::from(choice == FingerprintMismatch::Run));
    }
}

#[tokio::test(start_paused = true)]
async fn another_payload_of_a_key_in_progress_is_no_duplicate_yet() {
    let (engine, store) = engine();
    let settings = Settings { fingerprint: Some(FingerprintMismatch::Duplicate), ..Settings::new() };
    // In this process, and in another one.
    for (name, elsewhere) in [("here", engine.clone()), ("there", engine_over(&store))] {
        let (gate, other) = (gate(&engine, settings.clone()), gate(&elsewhere, settings.clone()));
        let begin = |ends: HandlerResult| {
            let gate = gate.clone();
            tokio::spawn(async move {
                let work = move |_, _| async move {
                    tokio::time::sleep(secs(2)).await;
                    ends
                };
                handle(&gate, job_with_payload(name, "one"), work).await.decision
            })
        };
        let running = begin(Err("not today".into()));
        tokio::time::sleep(secs(1)).await;
        let second = succeed(&other, job_with_payload(name, "two")).await;
        assert_eq!(second.outcome, Outcome::InProgress, "{name}");
        assert_eq!(running.await.unwrap().outcome, Outcome::Failed);
    }
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_cancels_handlers_releases_their_keys_and_counts_nothing() {
    let (engine, store) = engine();
    let gate = gate(&engine, Settings { concurrency: Some(1), ..Settings::new() });
    let spawn = |name: &'static str| {
        let gate = gate.clone();
        tokio::spawn(async move { handle(&gate, job(name), |_, _| std::future::pending()).await.decision })
    };
    let (running, waiting) = (spawn("a"), spawn("b"));
    tokio::time::sleep(secs(1)).await;
    engine.close();
    assert_eq!(waiting.await.unwrap().verdict, Verdict::Leave);
    assert!(!running.is_finished(), "a run under way may finish");
    engine.stop();
    assert_eq!(running.await.unwrap(), Decision::new(Verdict::Leave, Outcome::Shutdown).attempt(1));
    let record = store.read(&key("a")).await.unwrap().unwrap();
    assert_eq!((record.state, record.attempts), (State::Released, 0));
    assert!(store.read(&key("b")).await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_ends_a_hold_and_leaves_the_message() {
    let (engine, store) = engine();
    store.go_down();
    let gate = gate(&engine, Settings::new());
    let held = tokio::spawn({
        let gate = gate.clone();
        async move { succeed(&gate, job("a")).await }
    });
    tokio::time::sleep(secs(60)).await;
    engine.stop();
    assert_eq!(held.await.unwrap().verdict, Verdict::Leave);
}

fn decided(admission: Admission) -> Decision {
    match admission {
        Admission::Decided(settled) => settled.decision,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn unfit_messages_become_dead_letters_until_they_are_more_than_half() {
    let (engine, _) = engine();
    let gate = gate(&engine, Settings::new());
    for _ in 0..50 {
        let decision = decided(gate.unfit(Unfit::Undecodable, "no JSON".to_owned(), 1).admission.await);
        assert_eq!((decision.verdict, decision.outcome), (Verdict::DeadLetter, Outcome::Undecodable));
    }
    let mut held = Box::pin(gate.unfit(Unfit::MissingKey, "no key".to_owned(), 1).admission);
    assert!(
        tokio::time::timeout(secs(3_600), &mut held).await.is_err(),
        "a bad deploy must not empty a topic"
    );
    (0..60).for_each(|_| gate.fit());
    assert_eq!(decided(held.await).outcome, Outcome::MissingKey);
}

#[tokio::test(start_paused = true)]
async fn unfit_messages_are_retried_or_run_where_the_policy_says_so() {
    let (engine, _) = engine();
    let settings = Settings {
        undecodable: Some(Undecodable::Retry),
        missing_key: Some(MissingKey::RunWithoutDedup),
        ..Settings::new()
    };
    let gate = gate(&engine, settings);
    let retried = decided(gate.unfit(Unfit::Undecodable, "no JSON".to_owned(), 2).admission.await);
    assert_eq!(retried.verdict, Verdict::Retry(secs(30)));
    let last = decided(gate.unfit(Unfit::Undecodable, "no JSON".to_owned(), 16).admission.await);
    assert_eq!(last.verdict, Verdict::DeadLetter);
    let Admission::Run(claimed) = gate.unfit(Unfit::MissingKey, "no key".to_owned(), 1).admission.await
    else {
        panic!("not run")
    };
    let settled = gate.settle_one(claimed.run(|_, _| async { Ok(()) }).await).await;
    assert_eq!(settled.decision.outcome, Outcome::CompletedWithoutDedup);
}

/// So it is where the record has expired before the retry came.
#[tokio::test(start_paused = true)]
async fn attempts_that_only_the_message_knows_of_count_too() {
    let (engine, _store) = engine();
    let gate = gate(&engine, Settings { max_attempts: Some(3), ..Settings::new() });
    let decision = fail(&gate, Job { failures: 1, ..job("a") }).await.decision;
    assert_eq!((decision.attempt, matches!(decision.verdict, Verdict::Retry(_))), (2, true));
    // The record counts one failure by now, and the message two.
    let decision = fail(&gate, Job { failures: 2, ..job("a") }).await.decision;
    assert_eq!((decision.attempt, decision.verdict), (3, Verdict::DeadLetter));
    // Where the record counts more, it counts.
    drop(fail(&gate, job("b")).await);
    drop(fail(&gate, job("b")).await);
    assert_eq!(fail(&gate, Job { failures: 1, ..job("b") }).await.decision.attempt, 3);
}

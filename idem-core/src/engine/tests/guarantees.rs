//! The invariants that the engine adds to a store's.

use super::*;
use crate::store::{Attempts, ClaimRequest, CompleteRequest, ReleaseRequest, Store as _};
use crate::{State, StoreFailure, Token};

#[tokio::test(start_paused = true)]
async fn invariant_1_one_handler_at_a_time_and_once_over_two_processes() {
    let store = Arc::new(FaultyStore::new());
    let (runs, at_once) = (Runs::default(), Runs::default());
    let gates = [gate(&engine_over(&store), Settings::new()), gate(&engine_over(&store), Settings::new())];
    let tasks = (0..100).map(|i| {
        let (gate, runs, at_once) = (gates[i % 2].clone(), runs.clone(), at_once.clone());
        tokio::spawn(async move {
            // Whoever gets "in progress" comes again, as the broker would let it.
            loop {
                let work = |_, _| async {
                    at_once.one();
                    assert_eq!(at_once.count(), 1, "two handlers run for one key");
                    tokio::time::sleep(secs(40)).await;
                    at_once.0.fetch_sub(1, Ordering::SeqCst);
                    runs.one();
                    Ok(())
                };
                match handle(&gate, job("a"), work).await.decision.verdict {
                    Verdict::Retry(after) => tokio::time::sleep(after).await,
                    verdict => return verdict,
                }
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        assert_eq!(task.await.unwrap(), Verdict::Ack);
    }
    assert_eq!(runs.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn invariant_4_no_handler_starts_for_a_completed_key() {
    let (engine, _) = engine();
    let gate = gate(&engine, Settings::new());
    assert_eq!(succeed(&gate, job("a")).await.outcome, Outcome::Completed);
    let runs = Runs::default();
    let again = handle(&gate, job("a"), |_, _| async { runs.succeed() }).await.decision;
    assert_eq!((again.verdict, again.outcome, runs.count()), (Verdict::Ack, Outcome::Duplicate, 0));
}

#[tokio::test(start_paused = true)]
async fn invariant_4_a_late_claim_does_not_start_a_handler() {
    let (engine, store) = engine();
    let gate = gate(&engine, Settings::new());
    // The lease is 30 s, trusted for 27: a reply after 28 s must not start anything by itself.
    *store.claim_delay.lock() = secs(28);
    let begun = tokio::time::Instant::now();
    let decision = handle(&gate, job("a"), |lease, _| async move {
        assert!(!lease.is_lost());
        Ok(())
    });
    assert_eq!(decision.await.decision.outcome, Outcome::Completed);
    assert_eq!(
        store.sizes("claim"),
        [1, 1],
        "the late claim is asked for again, and only then the handler starts"
    );
    assert!(begun.elapsed() >= secs(28));
}

#[tokio::test(start_paused = true)]
async fn invariant_5_ok_is_acked_only_when_the_completion_is_recorded() {
    let (engine, store) = engine();
    let gate = gate(&engine, Settings::new());
    let mut handled = Box::pin(handle(&gate, job("a"), |_, _| async {
        store.go_down();
        Ok(())
    }));
    // Far beyond the lease: nothing is decided while the completion is not recorded.
    assert!(tokio::time::timeout(secs(180), &mut handled).await.is_err());
    store.come_back();
    assert_eq!(handled.await.decision, Decision::new(Verdict::Ack, Outcome::Completed).attempt(1));
    assert_eq!(store.read(&key("a")).await.unwrap().unwrap().state, State::Completed);
}

#[tokio::test(start_paused = true)]
async fn invariant_5_a_completion_that_came_too_late_is_retried_or_acked_as_done_elsewhere() {
    for is_done_elsewhere in [false, true] {
        let (engine, store) = engine();
        let gate = gate(&engine, Settings::new());
        let decision = handle(&gate, job("a"), |_, _| async {
            // Somebody else takes the key, as after a lease that was lost unseen.
            let token = Token::random();
            store.remove(&key("a"), None).await.unwrap();
            let claim = ClaimRequest::new(key("a"), token, secs(30), secs(99), crate::MemberId::random());
            let claimed = store.claim(&[claim]).await.unwrap().remove(0).unwrap();
            let crate::store::Claim::Claimed { fence, .. } = claimed else { panic!("{claimed:?}") };
            if is_done_elsewhere {
                let key = key("a");
                let complete = CompleteRequest::new(key, token, fence, secs(99), crate::MemberId::random());
                store.complete(&[complete]).await.unwrap();
            }
            Ok(())
        });
        let decision = decision.await.decision;
        assert!(decision.outcome.is_possible_double_run());
        if is_done_elsewhere {
            assert_eq!((decision.verdict, decision.outcome), (Verdict::Ack, Outcome::CompletedElsewhere));
        } else {
            assert_eq!(
                (decision.verdict, decision.outcome),
                (Verdict::Retry(secs(1)), Outcome::CompletionLost)
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn invariant_5_a_retry_is_no_duplicate_of_its_own_failed_attempt() {
    let (engine, _) = engine();
    let gate = gate(&engine, Settings::new());
    let failed = fail(&gate, job("a")).await.decision;
    assert_eq!((failed.verdict, failed.attempt), (Verdict::Retry(secs(10)), 1));
    let retried = succeed(&gate, job("a")).await;
    assert_eq!((retried.outcome, retried.attempt), (Outcome::Completed, 2));
}

#[tokio::test(start_paused = true)]
async fn invariant_7_the_fence_that_a_handler_sees_grows() {
    let (engine, _) = engine();
    let gate = gate(&engine, Settings::new());
    let mut last = None;
    for _ in 0..3 {
        let mut fence = None;
        let _ = handle(&gate, job("a"), |lease, _| {
            fence = lease.fence();
            async { Err("no".into()) }
        })
        .await;
        assert!(fence.is_some() && fence > last, "{fence:?} after {last:?}");
        last = fence;
    }
}

#[tokio::test(start_paused = true)]
async fn a_failing_message_is_a_dead_letter_after_exactly_its_attempts_whatever_lay_between() {
    let (engine, store) = engine();
    let settings =
        Settings { max_attempts: Some(3), backoff: Some(Backoff::fixed(secs(1))), ..Settings::new() };
    let gate = gate(&engine, settings);
    for attempt in 1..=3 {
        // Conflicts, a shutdown and a lost claim cost nothing.
        let token = Token::random();
        let claim = ClaimRequest::new(key("a"), token, secs(30), secs(999), crate::MemberId::random());
        store.claim(&[claim]).await.unwrap().remove(0).unwrap();
        for redeliveries in 0..5 {
            let decision = succeed(&gate, Job { redeliveries, ..job("a") }).await;
            assert_eq!(decision.outcome, Outcome::InProgress);
        }
        let attempts = Attempts::Keep;
        store.release(&[ReleaseRequest::new(key("a"), token, secs(999), attempts)]).await.unwrap();
        store.lost_claims.store(2, Ordering::SeqCst);

        let settled = fail(&gate, job("a")).await;
        assert_eq!(settled.decision.attempt, attempt);
        if attempt < 3 {
            assert_eq!(settled.decision.verdict, Verdict::Retry(secs(1)));
        } else {
            assert_eq!(
                (settled.decision.verdict, settled.decision.outcome),
                (Verdict::DeadLetter, Outcome::Exhausted)
            );
            assert_eq!(&**settled.decision.reason.as_ref().unwrap(), "no");
            settled.held.unwrap().release(&settled.decision).await;
        }
    }
    let record = store.read(&key("a")).await.unwrap().unwrap();
    assert_eq!((record.state, record.attempts), (State::Released, 0), "a replay has all its attempts");
}

#[tokio::test(start_paused = true)]
async fn a_duplicate_beside_a_ten_minute_handler_ends_as_a_duplicate_and_costs_no_attempt() {
    let store = Arc::new(FaultyStore::new());
    let settings = || Settings { timeout: Some(secs(900)), ..Settings::new() };
    let (first, second) = (gate(&engine_over(&store), settings()), gate(&engine_over(&store), settings()));
    let running = tokio::spawn(async move {
        handle(&first, job("a"), |_, _| async {
            tokio::time::sleep(secs(600)).await;
            Ok(())
        })
        .await
        .decision
    });
    tokio::time::sleep(secs(1)).await;
    let mut redeliveries = 0;
    let last = loop {
        let decision = succeed(&second, Job { redeliveries, ..job("a") }).await;
        match decision.verdict {
            Verdict::Retry(after) => {
                assert_eq!((decision.outcome, decision.attempt), (Outcome::InProgress, 0));
                assert!(after >= secs(1));
                tokio::time::sleep(after).await;
                redeliveries += 1;
            }
            _ => break decision,
        }
    };
    assert_eq!((last.verdict, last.outcome), (Verdict::Ack, Outcome::Duplicate));
    assert_eq!(running.await.unwrap().outcome, Outcome::Completed);
    assert!(redeliveries < 25, "the backoff grows: {redeliveries} redeliveries");
    assert_eq!(store.read(&key("a")).await.unwrap().unwrap().attempts, 0);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_run_gives_its_key_back() {
    let (engine, store) = engine();
    let gate = gate(&engine, Settings::new());
    let handled = handle(&gate, job("a"), |_, _| std::future::pending());
    assert!(tokio::time::timeout(secs(1), handled).await.is_err());
    tokio::time::sleep(secs(1)).await;
    let record = store.read(&key("a")).await.unwrap().unwrap();
    assert_eq!((record.state, record.attempts), (State::Released, 0));
    assert_eq!(succeed(&gate, job("a")).await.attempt, 1);
}

#[tokio::test(start_paused = true)]
async fn a_claim_whose_reply_was_lost_does_not_conflict_with_its_own_orphan() {
    let (engine, store) = engine();
    let gate = gate(&engine, Settings::new());
    store.lost_claims.store(3, Ordering::SeqCst);
    assert_eq!(succeed(&gate, job("a")).await, Decision::new(Verdict::Ack, Outcome::Completed).attempt(1));
    assert_eq!(store.sizes("claim"), [1, 1, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_claim_whose_reply_was_lost_is_given_back_where_the_message_is_sent_back() {
    let (engine, store) = engine();
    let gate = gate(&engine, Settings { store_failure: Some(StoreFailure::Retry), ..Settings::new() });
    store.lost_claims.store(1, Ordering::SeqCst);
    assert_eq!(succeed(&gate, job("a")).await.outcome, Outcome::StoreFailed);
    let given_back = async {
        while store.read(&key("a")).await.unwrap().unwrap().state != State::Released {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(secs(5), given_back).await.expect("long before its lease is over");
    assert_eq!(succeed(&gate, job("a")).await, Decision::new(Verdict::Ack, Outcome::Completed).attempt(1));
}

//! Doubt: each way in which a run ends without an answer is remembered, told, and treated as the policy says.

use std::future::pending;

use super::*;
use crate::engine::{Checked, Finished, RunProgress};
use crate::handler_error::{HandlerError, Reject, Uncertain};
use crate::store::{ClaimRequest, Store as _};
use crate::{Doubt, DoubtCause, Happened, MemberId, Record, Token, UncertainRun};

fn policy(uncertain: UncertainRun) -> Settings {
    Settings::new().timeout(secs(60)).max_attempts(3).uncertain(uncertain)
}

async fn record(store: &FaultyStore) -> Record {
    store.read(&key("a")).await.unwrap().unwrap()
}

/// The doubt of the key, once it is not in progress any more.
async fn doubt(store: &FaultyStore) -> Option<Doubt> {
    tokio::time::timeout(secs(600), async {
        loop {
            match store.read(&key("a")).await {
                Ok(Some(record)) if record.state != crate::State::InProgress => return record.doubt,
                _ => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    })
    .await
    .expect("the key is given back")
}

async fn claimed(gate: &Gate) -> crate::engine::ClaimedRun {
    let Entry::Leader(leader) = gate.enter(job("a")) else { panic!("the key is free") };
    match gate.claim(&mut VecDeque::from([leader])).await.remove(0) {
        Admission::Run(claimed) => claimed,
        other => panic!("{}", matches!(other, Admission::Decided(_))),
    }
}

/// One message's way with a check before its run, as a listener drives it.
async fn handle_checked(
    gate: &Gate,
    answer: impl Future<Output = Result<Happened, HandlerError>> + Send,
    run: impl FnOnce() -> HandlerResult + Send,
) -> Settled {
    let Entry::Leader(leader) = gate.enter(job("a")) else { panic!("the key is free") };
    let claimed = match gate.claim(&mut VecDeque::from([leader])).await.remove(0) {
        Admission::Run(claimed) => claimed,
        Admission::Decided(settled) => return settled,
        Admission::Later(_) => panic!("the store answers"),
    };
    let finished: Finished = if claimed.needs_check() {
        match claimed.check(|_, _| Box::pin(async { ((), answer.await) })).await {
            Checked::Over(finished) => finished,
            Checked::Run(claimed, ()) => claimed.run(|_, _| async { run() }).await,
        }
    } else {
        claimed.run(|_, _| async { run() }).await
    };
    gate.settle_one(finished).await
}

/// A run of key `a` that ends so.
async fn end_by(cause: DoubtCause, store: &Arc<FaultyStore>, gate: &Gate) {
    match cause {
        DoubtCause::Vanished => {
            let claim =
                ClaimRequest::new(key("a"), Token::random(), secs(1), secs(9_999), MemberId::random());
            store.claim(&[claim]).await.unwrap().remove(0).unwrap();
            tokio::time::sleep(secs(2)).await;
        }
        DoubtCause::TimedOut => drop(handle(gate, job("a"), |_, _| pending()).await),
        DoubtCause::Panicked => {
            let settled = handle(gate, job("a"), |_, _| async { panic!("as it is to be") }).await;
            release(settled).await;
        }
        DoubtCause::Uncertain => {
            let settled =
                handle(gate, job("a"), |_, _| async { Err(Uncertain::because("no answer").into()) }).await;
            release(settled).await;
        }
        DoubtCause::Dropped => {
            let RunProgress::Going(run) = claimed(gate).await.begin(|_, _| pending()) else {
                panic!("it waits")
            };
            drop(run);
        }
        DoubtCause::LeaseLost => {
            store.delay("renew", secs(50));
            let settled = handle(gate, job("a"), |_, _| pending()).await;
            store.delay("renew", secs(0));
            assert_eq!(settled.decision.outcome, Outcome::LeaseLost);
        }
        DoubtCause::Shutdown => {
            let other = engine_over(store);
            let gate = super::gate(&other, policy(UncertainRun::Run));
            let running = handle(&gate, job("a"), |_, _| pending());
            let (settled, ()) = tokio::join!(running, async {
                tokio::time::sleep(secs(1)).await;
                other.stop();
            });
            assert_eq!(settled.decision.outcome, Outcome::Shutdown);
        }
    }
}

/// The dead letter is stored, if it is to be one.
async fn release(settled: Settled) {
    let Settled { decision, held } = settled;
    if let Some(held) = held {
        held.release(&decision).await;
    }
}

#[tokio::test(start_paused = true)]
async fn each_end_without_an_answer_is_remembered_and_told() {
    for cause in DoubtCause::ALL {
        let (engine, store) = engine();
        let gate = gate(&engine, policy(UncertainRun::Run));
        end_by(cause, &store, &gate).await;
        if cause != DoubtCause::Vanished {
            let doubt = doubt(&store).await.expect("a doubt");
            assert_eq!((doubt.cause, doubt.attempt), (cause, 1), "{cause:?}");
        }
        let mut told = None;
        let settled = handle(&gate, job("a"), |lease, _| {
            told = lease.doubt();
            async { Err("a clean error".into()) }
        });
        assert_eq!(settled.await.decision.outcome, Outcome::Failed, "{cause:?}");
        assert_eq!(told.map(|doubt| (doubt.cause, doubt.attempt)), Some((cause, 1)), "{cause:?}");
        let left = doubt(&store).await;
        assert_eq!(left, told, "a clean error says nothing of the run before: {cause:?}");
        assert_eq!(succeed(&gate, job("a")).await.outcome, Outcome::Completed);
        assert_eq!(record(&store).await.doubt, None, "{cause:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_that_was_never_polled_and_a_clear_answer_leave_no_doubt() {
    let (engine, store) = engine();
    let gate = gate(&engine, policy(UncertainRun::Hold));
    drop(claimed(&gate).await);
    assert_eq!(doubt(&store).await, None);
    let never_polled = claimed(&gate).await;
    drop(never_polled.run(|_, _| async { Ok(()) }));
    assert_eq!(doubt(&store).await, None);
    assert_eq!(fail(&gate, job("a")).await.decision.outcome, Outcome::Failed);
    assert_eq!(doubt(&store).await, None);
    let rejected = handle(&gate, job("a"), |_, _| async { Err(Reject::new("never").into()) }).await;
    assert_eq!(rejected.decision.outcome, Outcome::Rejected);
    release(rejected).await;
    assert_eq!(doubt(&store).await, None);
    assert_eq!(succeed(&gate, job("a")).await.outcome, Outcome::Completed);
}

#[tokio::test(start_paused = true)]
async fn where_it_must_not_no_run_follows_one_without_an_answer() {
    for cause in DoubtCause::ALL {
        let (engine, store) = engine();
        let gate = gate(&engine, policy(UncertainRun::Hold));
        end_by(cause, &store, &gate).await;
        if cause != DoubtCause::Vanished {
            doubt(&store).await;
        }
        for _ in 0..3 {
            let runs = Runs::default();
            let settled = handle(&gate, job("a"), |_, _| async { runs.succeed() }).await;
            let Decision { verdict, outcome, .. } = settled.decision;
            assert_eq!((verdict, outcome), (Verdict::DeadLetter, Outcome::Uncertain), "{cause:?}");
            assert_eq!(runs.count(), 0, "{cause:?}");
            release(settled).await;
            assert_eq!(doubt(&store).await.map(|doubt| doubt.cause), Some(cause));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_without_an_answer_is_a_dead_letter_at_once_where_none_may_follow() {
    let (engine, store) = engine();
    let gate = gate(&engine, policy(UncertainRun::Hold));
    let settled = handle(&gate, job("a"), |_, _| pending()).await;
    assert_eq!(settled.decision.outcome, Outcome::Uncertain);
    assert_eq!(settled.decision.verdict, Verdict::DeadLetter);
    // The dead letter could not be stored: the key is given back, in doubt all the same.
    drop(settled);
    assert_eq!(doubt(&store).await.map(|doubt| doubt.cause), Some(DoubtCause::TimedOut));
}

#[tokio::test(start_paused = true)]
async fn a_check_decides_what_follows() {
    let (engine, store) = engine();
    let gate = gate(&engine, policy(UncertainRun::Check));
    end_by(DoubtCause::TimedOut, &store, &gate).await;
    let runs = Runs::default();
    let unknown = handle_checked(&gate, async { Ok(Happened::Unknown) }, || runs.succeed()).await;
    assert!(matches!(unknown.decision.verdict, Verdict::Retry(_)));
    assert_eq!((unknown.decision.outcome, unknown.decision.attempt), (Outcome::Uncertain, 2));
    assert_eq!(doubt(&store).await.map(|doubt| doubt.attempt), Some(1), "the check is no run");
    let none = handle_checked(&gate, async { Ok(Happened::No) }, || Err("a clean error".into())).await;
    assert_eq!(none.decision.outcome, Outcome::Exhausted);
    release(none).await;
    assert_eq!(doubt(&store).await, None, "nothing had happened, and nothing has since");
    assert_eq!(runs.count(), 0);

    end_by(DoubtCause::Panicked, &store, &gate).await;
    let found = handle_checked(&gate, async { Ok(Happened::Yes) }, || runs.succeed()).await;
    assert_eq!((found.decision.verdict, found.decision.outcome), (Verdict::Ack, Outcome::FoundDone));
    assert_eq!(runs.count(), 0);
    assert_eq!(record(&store).await.doubt, None);
    assert_eq!(succeed(&gate, job("a")).await.outcome, Outcome::Duplicate);
}

#[tokio::test(start_paused = true)]
async fn a_check_that_never_answers_ends_as_a_dead_letter_in_doubt() {
    let (engine, store) = engine();
    let gate = gate(&engine, policy(UncertainRun::Check));
    end_by(DoubtCause::Panicked, &store, &gate).await;
    let begun = tokio::time::Instant::now();
    let slow = handle_checked(&gate, pending(), || Ok(())).await;
    assert_eq!(slow.decision.outcome, Outcome::Uncertain);
    assert!(begun.elapsed() < secs(70), "it has the handler's time-out");
    let failed = handle_checked(&gate, async { panic!("as it is to be") }, || Ok(())).await;
    assert_eq!(failed.decision.verdict, Verdict::DeadLetter);
    assert_eq!(failed.decision.outcome, Outcome::Uncertain);
    release(failed).await;
    let doubt = doubt(&store).await.expect("still in doubt");
    assert_eq!((doubt.cause, doubt.attempt), (DoubtCause::Panicked, 1));
}

#[tokio::test(start_paused = true)]
async fn a_run_behind_a_check_leaves_a_doubt_of_its_own() {
    let (engine, store) = engine();
    let gate = gate(&engine, policy(UncertainRun::Check));
    end_by(DoubtCause::Panicked, &store, &gate).await;
    let claimed = claimed(&gate).await;
    let answer = |_: Lease, _: Doubt| Box::pin(async { ((), Ok(Happened::No)) });
    let Checked::Run(claimed, ()) = claimed.check(answer).await else { panic!("it is to be run") };
    let RunProgress::Going(run) = claimed.begin(|_, _| pending()) else { panic!("it waits") };
    drop(run);
    let doubt = doubt(&store).await.expect("a doubt");
    assert_eq!((doubt.cause, doubt.attempt), (DoubtCause::Dropped, 2));
}

#[tokio::test(start_paused = true)]
async fn the_record_says_how_the_last_run_ended() {
    let (engine, store) = engine();
    let gate = gate(&engine, policy(UncertainRun::Run));
    let _ = handle(&gate, job("a"), |_, _| async { Err("no answer from the bank".into()) }).await;
    doubt(&store).await;
    let last = record(&store).await.last.expect("a last run");
    assert_eq!((last.outcome, &*last.error), (Outcome::Failed, "no answer from the bank"));
    end_by(DoubtCause::TimedOut, &store, &gate).await;
    doubt(&store).await;
    assert_eq!(record(&store).await.last.map(|last| last.outcome), Some(Outcome::TimedOut));
}

/// The check's answer is in the store before the run may begin.
#[tokio::test(start_paused = true)]
async fn a_check_that_found_nothing_has_ended_the_doubt_before_the_run_begins() {
    let (engine, store) = engine();
    let gate = gate(&engine, policy(UncertainRun::Check));
    end_by(DoubtCause::Panicked, &store, &gate).await;
    let mut while_asked = None;
    let checked = claimed(&gate).await.check(|_, _| {
        let (store, seen) = (store.clone(), &mut while_asked);
        Box::pin(async move {
            *seen = record(&store).await.doubt;
            ((), Ok(Happened::No))
        })
    });
    let Checked::Run(claimed, ()) = checked.await else { panic!("it is to be run") };
    assert_eq!(while_asked.map(|doubt| doubt.cause), Some(DoubtCause::Panicked));
    assert_eq!(record(&store).await.doubt, None);
    drop(claimed);
}

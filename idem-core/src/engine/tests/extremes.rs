//! Whatever times and numbers a user says: they are refused, or they work.

use super::*;
use crate::clock::{LONGEST, extremes};
use crate::{InProgress, Policy, PolicyError, Retry, UNLIMITED};

/// A run of three seconds under this policy, and its expected result.
async fn run(engine: &Engine, name: String, policy: Policy) {
    let is_too_short = policy.timeout < secs(3);
    let gate = engine.gate("test", policy.clone());
    let work = |_, _| async {
        tokio::time::sleep(secs(3)).await;
        Ok(())
    };
    let decision = handle(&gate, job(&name), work).await.decision;
    let expected = if is_too_short { Outcome::TimedOut } else { Outcome::Completed };
    assert_eq!(decision.outcome, expected, "{policy:?}");
}

/// The watch is one task for all runs: a panic there would let every lease run out.
#[tokio::test(start_paused = true)]
async fn no_time_that_a_user_says_ends_the_watch() {
    let (engine, store) = engine();
    let mut count = 0;
    for lease in extremes() {
        for timeout in extremes() {
            for retention in extremes() {
                let times =
                    Settings { timeout: Some(timeout), retention: Some(retention), ..Settings::new() };
                let backoff = Some(Backoff::fixed(Duration::ZERO));
                let settings = Settings { lease: Some(lease), backoff, ..times };
                if let Ok(policy) = settings.resolve() {
                    count += 1;
                    run(&engine, format!("{count}"), policy).await;
                }
            }
        }
    }
    assert!(count > 50, "{count}");
    let before = store.sizes("renew").len();
    run(&engine, "last".to_owned(), Settings { lease: Some(secs(1)), ..Settings::new() }.resolve().unwrap())
        .await;
    assert!(store.sizes("renew").len() > before, "leases are renewed still");
}

#[tokio::test(start_paused = true)]
async fn for_ever_is_a_time_out_and_a_retention() {
    let ever = Some(Duration::MAX);
    let policy = Settings { timeout: ever, retention: ever, ..Settings::new() }.resolve().unwrap();
    assert_eq!((policy.timeout, policy.retention), (LONGEST, LONGEST));
    let (engine, _) = engine();
    let gate = engine.gate("test", policy);
    succeed(&gate, job("a")).await;
    tokio::time::sleep(Duration::from_hours(24 * 365 * 2)).await;
    assert_eq!(succeed(&gate, job("a")).await.outcome, Outcome::Duplicate);
}

#[test]
fn what_would_never_end_is_refused_by_its_name() {
    for time in extremes().filter(|time| *time > LONGEST) {
        let long = Settings { retention: Some(time), timeout: Some(time), ..Settings::new() };
        let wrong = [
            ("lease", Settings { lease: Some(time), ..long.clone() }),
            ("in_progress wait", Settings { in_progress: Some(InProgress::Wait(time)), ..long.clone() }),
            ("backoff", Settings { backoff: Some(Backoff::fixed(time)), ..long.clone() }),
            ("backoff", Settings { backoff: Some(Backoff::steps([secs(1), time, secs(1)])), ..long.clone() }),
            ("backoff", Settings { backoff: Some(Backoff::exponential(time, time)), ..long.clone() }),
        ];
        for (name, settings) in wrong {
            let error = settings.resolve().unwrap_err();
            assert!(matches!(error, PolicyError::OutOfBounds(_)), "{error}");
            assert!(
                error.to_string().starts_with(&format!("`{name}` is longer than a hundred years")),
                "{error}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_backoff_delay_and_number_is_refused_or_works() {
    let (engine, _) = engine();
    let mut count = 0;
    let mut fails = async |settings: Settings, text: &str| {
        let Ok(policy) = settings.resolve() else { return None };
        count += 1;
        let gate = engine.gate("test", policy);
        Some(fail(&gate, job(&format!("{text} {count}"))).await.decision.verdict)
    };
    for time in extremes() {
        for backoff in [
            Backoff::fixed(time),
            Backoff::steps([time, secs(1)]),
            Backoff::exponential(time, Duration::MAX),
            Backoff::exponential(Duration::from_nanos(1), time),
        ] {
            let delay = backoff.after(1);
            let verdict = fails(Settings { backoff: Some(backoff), ..Settings::new() }, "backoff").await;
            assert!(verdict.is_none_or(|verdict| verdict == Verdict::Retry(delay)), "{verdict:?}");
        }
        let wait = Settings { in_progress: Some(InProgress::Wait(time)), ..Settings::new() };
        fails(wait, "wait").await;
    }
    for attempts in [0, 1, 2, UNLIMITED - 1, UNLIMITED] {
        let verdict = fails(Settings { max_attempts: Some(attempts), ..Settings::new() }, "attempts").await;
        let expected = match attempts {
            0 => None,
            1 => Some(Verdict::DeadLetter),
            _ => Some(Verdict::Retry(secs(10))),
        };
        assert_eq!(verdict, expected);
    }
    for concurrency in [0, 1, usize::MAX] {
        let settings = Settings { concurrency: Some(concurrency), ..Settings::new() };
        assert_eq!(fails(settings, "concurrency").await.is_some(), concurrency > 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_may_ask_for_any_delay_and_a_message_may_have_come_any_number_of_times() {
    let (engine, _) = engine();
    let gate = gate(&engine, Settings { max_attempts: Some(UNLIMITED), ..Settings::new() });
    for (turn, time) in extremes().enumerate() {
        for redeliveries in [0, 1, 31, 32, u32::MAX - 1, u32::MAX] {
            let job = Job { redeliveries, ..job(&format!("{turn} {redeliveries}")) };
            let decision = handle(&gate, job, |_, _| async { Err(Retry::after(time).into()) }).await.decision;
            assert_eq!(decision.verdict, Verdict::Retry(time));
        }
    }
}

#[test]
fn each_step_of_the_backoff_that_can_be_used_is_shorter_than_the_retention() {
    let retention = Some(secs(1_000));
    let settings = |steps: [u64; 3], attempts| Settings {
        retention,
        timeout: Some(secs(60)),
        max_attempts: Some(attempts),
        backoff: Some(Backoff::steps(steps.map(secs))),
        ..Settings::new()
    };
    let refused = |steps, attempts| settings(steps, attempts).resolve().is_err();
    assert!(refused([1_000, 1, 1], 16), "the first one");
    assert!(refused([1, 1_000, 1], 16), "the second one");
    assert!(refused([1, 1_000, 1], 3), "the last one that is used");
    assert!(!refused([1, 1_000, 1], 2), "two attempts have one delay between them");
    assert!(!refused([1, 999, 1], UNLIMITED));
}

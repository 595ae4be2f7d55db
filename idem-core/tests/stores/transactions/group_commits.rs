//! Messages that share a transaction, each in a savepoint of its own.
//!
//! Run alone: `cargo test -p idem-core --all-features --test stores -- group_commits::`

use std::future::pending;
use std::time::Duration;

use idem_core::engine::{Admission, Commit};
use idem_core::{DoubtCause, Outcome, Verdict};

use super::together::{batches_that_cross, outcomes};
use crate::support::bank::{Bank, SECOND};
use crate::support::batches::{Batches, NEVER, Name, UNKNOWN, good, settings};

async fn batches<B: Bank>() -> Batches<B> {
    Batches::open(Commit::Savepoints, settings()).await
}

const DONE: (Outcome, u32) = (Outcome::Completed, 1);

pub(crate) async fn what_fails_in_its_savepoint_is_undone_alone<B: Bank>() {
    let mut settings = settings();
    settings.timeout = Some(SECOND);
    let batches = Batches::<B>::open(Commit::Savepoints, settings).await;
    let work = async |_: &mut B::Connection, names: &[Name]| match names[0] {
        "fails" => Ok(vec![Err("no")]),
        "never" => Ok(vec![Err(NEVER)]),
        "panics" => panic!("on purpose"),
        "stands" => pending().await,
        _ => good(names),
    };
    let names = ["1", "fails", "2", "never", "3", "panics", "4", "stands", "5"];
    let decisions = batches.pay(&names, work).await;
    let seen = outcomes(&decisions);
    let bad = [Outcome::Failed, Outcome::Rejected, Outcome::Panicked, Outcome::TimedOut].map(|bad| (bad, 1));
    assert_eq!(seen, [DONE, bad[0], DONE, bad[1], DONE, bad[2], DONE, bad[3], DONE]);
    // None was called twice.
    assert_eq!((batches.calls().len(), batches.bank.paid().await), (names.len(), 5));
    let again = batches.pay(&["1", "fails"], async |_: &mut B::Connection, names: &[Name]| good(names)).await;
    assert_eq!(outcomes(&again), [(Outcome::Duplicate, 0), (Outcome::Completed, 2)]);
    assert_eq!(batches.bank.paid().await, 6);
}

pub(crate) async fn a_savepoint_s_time_begins_with_its_turn<B: Bank>() {
    let mut settings = settings();
    settings.timeout = Some(2 * SECOND);
    let batches = Batches::<B>::open(Commit::Savepoints, settings).await;
    let slow = batches.pay(&["1", "2", "3", "4"], async |_: &mut B::Connection, names: &[Name]| {
        tokio::time::sleep(Duration::from_millis(800)).await;
        good(names)
    });
    assert_eq!((outcomes(&slow.await), batches.calls().len()), (vec![DONE; 4], 4));
}

pub(crate) async fn only_the_bad_one_counts_attempts_up_to_its_dead_letter<B: Bank>() {
    let mut settings = settings();
    settings.max_attempts = Some(2);
    let batches = Batches::<B>::open(Commit::Savepoints, settings).await;
    let work = async |_: &mut B::Connection, names: &[Name]| {
        if names == ["bad"] { Err("no".into()) } else { good(names) }
    };
    let first = batches.pay(&["1", "bad"], work).await;
    assert_eq!(outcomes(&first), [DONE, (Outcome::Failed, 1)]);
    let last = batches.pay(&["bad", "2"], work).await;
    assert_eq!(outcomes(&last), [(Outcome::Exhausted, 2), DONE]);
    assert_eq!((last[0].verdict, batches.bank.paid().await), (Verdict::DeadLetter, 2));
    // A replayed message has all its attempts.
    assert_eq!(outcomes(&batches.pay(&["bad", "3"], work).await), [(Outcome::Failed, 1), DONE]);
}

pub(crate) async fn one_that_ends_the_transaction_is_not_acked_and_the_others_are_done<B: Bank>() {
    let batches = batches::<B>().await;
    let work = async |on: &mut B::Connection, names: &[Name]| {
        if names == ["bad"] {
            // The handler ends the transaction behind idem's back.
            B::execute(on, "ROLLBACK").await?;
        }
        good(names)
    };
    let decisions = batches.pay(&["1", "bad", "2"], work).await;
    assert_eq!(outcomes(&decisions), [DONE, (Outcome::Failed, 1), DONE]);
    assert_eq!(batches.bank.paid().await, 2);
}

pub(crate) async fn batches_that_cross_end_and_do_each_key_once<B: Bank>() {
    batches_that_cross::<B>(Commit::Savepoints).await;
}

pub(crate) async fn a_run_dropped_in_its_savepoint_commits_nothing<B: Bank>() {
    let batches = batches::<B>().await;
    let mut admissions = batches.claim(&["gone", "1", "2"]).await;
    let Admission::Run(gone) = admissions.remove(0) else { panic!("nobody else has it") };
    let open = gone.transaction().unwrap();
    let run = gone.run(|_, _| async move {
        let mut lent = open.lend().expect("nobody else has it");
        B::pay(lent.connection().downcast_mut().unwrap(), "gone").await.unwrap();
        pending().await
    });
    assert!(tokio::time::timeout(SECOND, run).await.is_err());
    let work = async |_: &mut B::Connection, names: &[Name]| good(names);
    let decisions = batches.settle(&["1", "2"], admissions, &work).await;
    assert_eq!((outcomes(&decisions), batches.bank.paid().await), (vec![DONE; 2], 2));
}

pub(crate) async fn one_that_commits_by_itself_repeats_nothing_of_the_others<B: Bank>() {
    let batches = batches::<B>().await;
    let work = async |on: &mut B::Connection, names: &[Name]| {
        if names == ["bad"] {
            B::execute(on, "COMMIT").await?;
            return Err("after its commit".into());
        }
        good(names)
    };
    let decisions = batches.pay(&["1", "bad", "2"], work).await;
    if B::LETS_COMMIT {
        // Work that it has committed itself is not repeated.
        assert_eq!(outcomes(&decisions), [(Outcome::Duplicate, 0), (Outcome::CommittedByHandler, 0), DONE]);
        assert_eq!(batches.bank.paid().await, 3);
    } else {
        assert_eq!(outcomes(&decisions), [DONE, (Outcome::Failed, 1), DONE]);
        assert_eq!(batches.bank.paid().await, 2);
    }
}

/// Its own alone: what was undone with its savepoint leaves none.
pub(crate) async fn a_run_that_shares_a_transaction_is_told_of_the_handlers_own_doubt<B: Bank>() {
    let batches = batches::<B>().await;
    let work = async |_: &mut B::Connection, names: &[Name]| match names[0] {
        "asked" => Ok(vec![Err(UNKNOWN)]),
        "panics" => panic!("on purpose"),
        _ => good(names),
    };
    let seen = outcomes(&batches.pay(&["1", "asked", "panics"], work).await);
    assert_eq!(seen, [DONE, (Outcome::Failed, 1), (Outcome::Panicked, 1)]);
    let names = ["asked", "panics", "2"];
    let admissions = batches.claim(&names).await;
    let doubt = |admission: &Admission| match admission {
        Admission::Run(claimed) => claimed.lease().doubt(),
        other => panic!("nobody else has it: {other:?}"),
    };
    let found: Vec<_> = admissions
        .iter()
        .map(|admission| doubt(admission).map(|doubt| (doubt.cause, doubt.attempt)))
        .collect();
    assert_eq!(found, [Some((DoubtCause::Uncertain, 1)), None, None]);
    let all = async |_: &mut B::Connection, names: &[Name]| good(names);
    let decisions = batches.settle(&names, admissions, &all).await;
    assert_eq!(outcomes(&decisions), [(Outcome::Completed, 2), (Outcome::Completed, 2), DONE]);
}

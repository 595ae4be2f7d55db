//! One call for many messages, in one transaction with all of their records.
//!
//! Run alone: `cargo test -p idem-core --all-features --test stores -- together::`

use std::future::pending;

use idem_core::engine::{Admission, Commit};
use idem_core::{Decision, InProgress, Outcome, Settings, Verdict};
use tokio::sync::oneshot;

use crate::support::bank::{Bank, SECOND};
use crate::support::batches::{Batches, NEVER, Name, good, settings};

async fn batches<B: Bank>() -> Batches<B> {
    Batches::open(Commit::Together, settings()).await
}

pub(super) fn outcomes(decisions: &[Decision]) -> Vec<(Outcome, u32)> {
    decisions.iter().map(|decision| (decision.outcome, decision.attempt)).collect()
}

pub(super) const DONE: (Outcome, u32) = (Outcome::Completed, 1);
const DUPLICATE: (Outcome, u32) = (Outcome::Duplicate, 0);

pub(crate) async fn a_batch_commits_with_all_its_records_or_not_at_all<B: Bank>() {
    let batches = batches::<B>().await;
    let done = batches.pay(&["1", "2", "3"], async |_: &mut B::Connection, names: &[Name]| good(names)).await;
    assert_eq!((outcomes(&done), batches.bank.paid().await), (vec![DONE; 3], 3));
    assert_eq!(batches.calls(), [["1", "2", "3"]]);
    let again = batches.pay(&["1", "2", "3"], async |_: &mut B::Connection, _: &[Name]| panic!("done")).await;
    assert_eq!((outcomes(&again), batches.bank.paid().await), (vec![DUPLICATE; 3], 3));
    assert!(batches.calls().is_empty());
}

/// Nothing of the call is left, nothing is counted, and the messages are done one by one.
pub(crate) async fn a_call_that_fails_is_made_again_for_each_message_alone<B: Bank>() {
    let mut settings = settings();
    settings.timeout = Some(SECOND);
    let batches = Batches::<B>::open(Commit::Together, settings).await;
    let fail = async |how: &'static str, names: [Name; 2]| {
        let work = async |_: &mut B::Connection, names: &[Name]| match (how, names) {
            (_, [_]) => good(names),
            ("fails", _) => Err("together they are bad".into()),
            ("panics", _) => panic!("on purpose"),
            _ => pending().await,
        };
        let decisions = batches.pay(&names, work).await;
        assert_eq!(outcomes(&decisions), [DONE; 2], "{how}");
        assert_eq!(batches.calls(), [names.to_vec(), vec![names[0]], vec![names[1]]], "{how}");
    };
    fail("fails", ["1", "2"]).await;
    fail("panics", ["3", "4"]).await;
    fail("takes too long", ["5", "6"]).await;
    assert_eq!(batches.bank.paid().await, 6);
}

pub(crate) async fn a_bad_message_takes_no_other_one_with_it_up_to_its_dead_letter<B: Bank>() {
    let mut settings = settings();
    settings.max_attempts = Some(2);
    let batches = Batches::<B>::open(Commit::Together, settings).await;
    let work = async |_: &mut B::Connection, names: &[Name]| {
        if names.contains(&"bad") { Err("one of them is bad".into()) } else { good(names) }
    };
    let first = batches.pay(&["1", "bad", "2"], work).await;
    assert_eq!(outcomes(&first), [DONE, (Outcome::Failed, 1), DONE]);
    let second = batches.pay(&["3", "bad", "1"], work).await;
    assert_eq!(outcomes(&second), [DONE, (Outcome::Exhausted, 2), DUPLICATE]);
    assert_eq!((second[1].verdict, batches.bank.paid().await), (Verdict::DeadLetter, 3));
}

pub(crate) async fn a_message_that_is_said_to_have_failed_is_undone_with_the_others_and_they_are_done_alone<
    B: Bank,
>() {
    let batches = batches::<B>().await;
    let work = async |_: &mut B::Connection, names: &[Name]| {
        Ok(names.iter().map(|name| if *name == "bad" { Err("it is bad") } else { Ok(()) }).collect())
    };
    let decisions = batches.pay(&["1", "bad", "2"], work).await;
    assert_eq!(outcomes(&decisions), [DONE, (Outcome::Failed, 1), DONE]);
    assert_eq!(decisions[1].reason.as_deref(), Some("it is bad"));
    assert_eq!(
        (batches.calls(), batches.bank.paid().await),
        (vec![vec!["1", "bad", "2"], vec!["1"], vec!["2"]], 2)
    );
    // Of nothing but bad ones, each is asked alone.
    let all_bad = batches.pay(&["bad", "3"], async |_: &mut B::Connection, names: &[Name]| {
        Ok(names.iter().map(|_| Err("it is bad")).collect())
    });
    assert_eq!(outcomes(&all_bad.await), [(Outcome::Failed, 2), (Outcome::Failed, 1)]);
    assert_eq!((batches.calls().len(), batches.bank.paid().await), (3, 2));
}

pub(crate) async fn a_rejected_message_of_a_batch_is_a_dead_letter_and_no_other_one<B: Bank>() {
    let batches = batches::<B>().await;
    let work = async |_: &mut B::Connection, names: &[Name]| {
        Ok(names.iter().map(|name| if *name == "bad" { Err(NEVER) } else { Ok(()) }).collect())
    };
    let decisions = batches.pay(&["bad", "1"], work).await;
    assert_eq!(outcomes(&decisions), [(Outcome::Rejected, 1), DONE]);
    let replayed = batches.pay(&["bad"], async |_: &mut B::Connection, names: &[Name]| good(names)).await;
    assert_eq!((outcomes(&replayed), batches.bank.paid().await), (vec![DONE], 2));
}

pub(crate) async fn duplicates_beside_a_batch_are_answered<B: Bank>() {
    let batches = batches::<B>().await;
    let work = async |_: &mut B::Connection, names: &[Name]| good(names);
    batches.pay(&["2"], work).await;
    let decisions = batches.pay(&["3", "2", "1"], work).await;
    assert_eq!(outcomes(&decisions), [DONE, DUPLICATE, DONE]);
    assert_eq!((batches.calls(), batches.bank.paid().await), (vec![vec!["2"], vec!["3", "1"]], 3));
}

pub(crate) async fn a_duplicate_in_another_transaction_waits_and_is_answered<B: Bank>() {
    let first = batches::<B>().await;
    let second = first.elsewhere(settings()).await;
    let (begun, has_begun) = oneshot::channel();
    let begun = std::cell::Cell::new(Some(begun));
    let one = first.pay(&["1", "2"], async |_: &mut B::Connection, names: &[Name]| {
        if let Some(begun) = begun.take() {
            let _ = begun.send(());
        }
        tokio::time::sleep(SECOND).await;
        good(names)
    });
    let two = async {
        has_begun.await.unwrap();
        second.pay(&["3", "2"], async |_: &mut B::Connection, names: &[Name]| good(names)).await
    };
    let (one, two) = tokio::join!(one, two);
    assert_eq!((outcomes(&one), outcomes(&two)), (vec![DONE; 2], vec![DONE, DUPLICATE]));
    assert_eq!((second.calls(), first.bank.paid().await), (vec![vec!["3"]], 3));
}

pub(crate) async fn a_message_without_attempts_left_is_no_part_of_the_batch<B: Bank>() {
    let batches = batches::<B>().await;
    let fail = async |_: &mut B::Connection, _: &[Name]| Err("no".into());
    batches.pay(&["bad"], fail).await;
    let mut settings = settings();
    settings.max_attempts = Some(1);
    let stricter = batches.elsewhere(settings).await;
    let decisions =
        stricter.pay(&["1", "bad", "2"], async |_: &mut B::Connection, names: &[Name]| good(names)).await;
    assert_eq!(outcomes(&decisions), [DONE, (Outcome::Exhausted, 1), DONE]);
    assert_eq!((stricter.calls(), batches.bank.paid().await), (vec![vec!["1"], vec!["2"]], 2));
}

pub(crate) async fn a_batch_that_ends_its_transaction_is_not_acked<B: Bank>() {
    let batches = batches::<B>().await;
    let work = async |on: &mut B::Connection, names: &[Name]| {
        if names.contains(&"bad") {
            // The handler ends its transaction behind idem's back.
            B::execute(on, "ROLLBACK").await?;
        }
        good(names)
    };
    let decisions = batches.pay(&["1", "bad", "2"], work).await;
    assert_eq!(outcomes(&decisions), [DONE, (Outcome::Failed, 1), DONE]);
    assert!(decisions[1].reason.as_deref().unwrap().contains("neither commits nor rolls back"));
    assert_eq!(batches.bank.paid().await, 2);
}

pub(crate) async fn batches_that_cross_end_and_do_each_key_once<B: Bank>() {
    batches_that_cross::<B>(Commit::Together).await;
}

/// Processes that are given the same messages, each in another order.
pub(super) async fn batches_that_cross<B: Bank>(commit: Commit) {
    const KEYS: [Name; 8] = ["1", "2", "3", "4", "5", "6", "7", "8"];
    let mut patient: Settings = settings();
    patient.in_progress = Some(InProgress::Wait(40 * SECOND));
    let mut processes = vec![Batches::<B>::open(commit, patient.clone()).await];
    for _ in 0..3 {
        processes.push(processes[0].elsewhere(patient.clone()).await);
    }
    let paying = processes.iter().enumerate().map(|(number, process)| async move {
        let mut keys = KEYS;
        keys.rotate_left(number * 2);
        if number % 2 == 1 {
            keys.reverse();
        }
        let mut decisions = Vec::new();
        for keys in keys.chunks(4) {
            let work = async |_: &mut B::Connection, names: &[Name]| {
                tokio::task::yield_now().await;
                good(names)
            };
            decisions.extend(process.pay(keys, work).await);
        }
        decisions
    });
    let decisions: Vec<_> = futures_util::future::join_all(paying).await.into_iter().flatten().collect();
    assert!(decisions.iter().all(|decision| decision.verdict == Verdict::Ack), "{decisions:?}");
    let completed = decisions.iter().filter(|decision| decision.outcome == Outcome::Completed).count();
    assert_eq!((completed, processes[0].bank.paid().await), (8, 8));
}

pub(crate) async fn a_dropped_run_commits_nothing_and_its_neighbours_are_done_alone<B: Bank>() {
    let batches = batches::<B>().await;
    let mut admissions = batches.claim(&["1", "gone", "2"]).await;
    assert!(matches!(admissions.remove(1), Admission::Run(_)));
    let work = async |_: &mut B::Connection, names: &[Name]| good(names);
    let decisions = batches.settle(&["1", "2"], admissions, &work).await;
    assert_eq!((outcomes(&decisions), batches.bank.paid().await), (vec![DONE; 2], 2));
    assert_eq!(batches.calls(), [vec!["1", "2"], vec!["1"], vec!["2"]]);
}

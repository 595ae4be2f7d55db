//! The rules of transactions on every database.
//!
//! Run alone: `cargo test -p idem-core --all-features --test stores -- transactions::`

use std::future::pending;
use std::time::Duration;

use idem_core::store::{Answer, Attempts, Claim, ClaimRequest, ReleaseRequest, RenewRequest};
use idem_core::{Backoff, HandlerError, InProgress, Outcome, Reject, Settings, Token, Verdict};
use tokio::sync::oneshot;

use crate::support::bank::{Bank, SECOND, gate, gate_that_waits, handle, job};

/// A claim of 3 s, by a consumer without transactions.
fn lease(name: &str) -> ClaimRequest {
    ClaimRequest::new(
        job(name).key,
        Token::random(),
        3 * SECOND,
        3_600 * SECOND,
        idem_core::MemberId::random(),
    )
}

fn settings() -> Settings {
    let mut settings = Settings::new();
    settings.backoff = Some(Backoff::fixed(Duration::ZERO));
    settings
}

pub(crate) async fn invariant_6_effect_and_record_commit_together_or_not_at_all<B: Bank>() {
    let bank = B::open().await;
    let mut settings = settings();
    settings.timeout = Some(SECOND);
    let gate = gate(&bank, settings).await;

    let failed = handle::<B>(&gate, job("1"), async |on: &mut B::Connection| {
        B::pay(on, "1").await?;
        Err("no".into())
    });
    let failed = failed.await;
    assert_eq!((failed.outcome, failed.attempt, bank.paid().await), (Outcome::Failed, 1, 0));

    let panicked = handle::<B>(&gate, job("1"), async |on: &mut B::Connection| {
        B::pay(on, "1").await?;
        panic!("on purpose")
    });
    let panicked = panicked.await;
    assert_eq!((panicked.outcome, panicked.attempt, bank.paid().await), (Outcome::Panicked, 2, 0));

    let late = handle::<B>(&gate, job("1"), async |on: &mut B::Connection| {
        B::pay(on, "1").await?;
        pending().await
    });
    let late = late.await;
    assert_eq!((late.outcome, late.attempt, bank.paid().await), (Outcome::TimedOut, 3, 0));

    let done =
        handle::<B>(&gate, job("1"), async |on: &mut B::Connection| Ok(B::pay(on, "1").await.map(drop)?));
    let done = done.await;
    assert_eq!((done.outcome, done.attempt, bank.paid().await), (Outcome::Completed, 4, 1));

    let again = handle::<B>(&gate, job("1"), async |_: &mut B::Connection| panic!("it was done")).await;
    assert_eq!((again.verdict, again.outcome, bank.paid().await), (Verdict::Ack, Outcome::Duplicate, 1));
}

/// The documented weakness of transactional mode.
pub(crate) async fn what_a_handler_does_elsewhere_is_repeated<B: Bank>() {
    let bank = B::open().await;
    let gate = gate(&bank, settings()).await;
    let mut mails = 0;
    for fails in [true, false] {
        let work = async |on: &mut B::Connection| {
            B::pay(on, "1").await?;
            mails += 1;
            if fails { Err("after the mail was sent".into()) } else { Ok(()) }
        };
        handle::<B>(&gate, job("1"), work).await;
    }
    assert_eq!((bank.paid().await, mails), (1, 2));
}

pub(crate) async fn a_rejected_message_leaves_nothing_and_can_be_replayed<B: Bank>() {
    let bank = B::open().await;
    let gate = gate(&bank, settings()).await;
    let rejected = handle::<B>(&gate, job("1"), async |on: &mut B::Connection| {
        B::pay(on, "1").await?;
        Err(Reject::new("never").into())
    });
    let rejected = rejected.await;
    assert_eq!((rejected.verdict, bank.paid().await), (Verdict::DeadLetter, 0));
    let replayed =
        handle::<B>(&gate, job("1"), async |on: &mut B::Connection| Ok(B::pay(on, "1").await.map(drop)?));
    let replayed = replayed.await;
    assert_eq!((replayed.outcome, replayed.attempt, bank.paid().await), (Outcome::Completed, 1, 1));
}

pub(crate) async fn the_last_attempt_is_a_dead_letter<B: Bank>() {
    let bank = B::open().await;
    let mut settings = settings();
    settings.max_attempts = Some(2);
    let gate = gate(&bank, settings).await;
    let fail = async || handle::<B>(&gate, job("1"), async |_: &mut B::Connection| Err("no".into())).await;
    assert!(matches!(fail().await.verdict, Verdict::Retry(_)));
    let last = fail().await;
    assert_eq!((last.verdict, last.outcome, last.attempt), (Verdict::DeadLetter, Outcome::Exhausted, 2));
    // A replayed message has all its attempts.
    assert_eq!(fail().await.attempt, 1);
}

pub(crate) async fn a_duplicate_elsewhere_waits_and_is_told_what_became_of_the_first<B: Bank>() {
    let bank = B::open().await;
    let (first, second) = (gate(&bank, settings()).await, gate(&bank, settings()).await);
    for (name, fails) in [("ok", false), ("failing", true)] {
        let (begun, has_begun) = oneshot::channel();
        let one = handle::<B>(&first, job(name), async move |on: &mut B::Connection| {
            B::pay(on, name).await?;
            let _ = begun.send(());
            tokio::time::sleep(SECOND).await;
            if fails { Err("no".into()) } else { Ok(()) }
        });
        let two = async {
            has_begun.await.unwrap();
            let work = async |on: &mut B::Connection| Ok(B::pay(on, name).await.map(drop)?);
            handle::<B>(&second, job(name), work).await
        };
        let (one, two) = tokio::join!(one, two);
        let expected = if fails {
            // Whoever of the two comes first after the rollback, the count of the failed attempt or the other run.
            assert!(
                matches!(one.outcome, Outcome::Failed | Outcome::Duplicate | Outcome::InProgress),
                "{one:?}"
            );
            [Outcome::Completed, Outcome::InProgress]
        } else {
            assert_eq!(one.outcome, Outcome::Completed);
            [Outcome::Duplicate; 2]
        };
        assert!(expected.contains(&two.outcome), "{two:?}");
    }
    let done = handle::<B>(&second, job("failing"), async |on: &mut B::Connection| {
        Ok(B::pay(on, "failing").await.map(drop)?)
    });
    assert_eq!((done.await.verdict, bank.paid().await), (Verdict::Ack, 2));
}

pub(crate) async fn many_duplicates_on_few_connections_end<B: Bank>() {
    let bank = B::open().await;
    let mut settings = settings();
    settings.in_progress = Some(InProgress::Wait(40 * SECOND));
    let mut gates = Vec::new();
    for _ in 0..6 {
        gates.push(gate(&bank, settings.clone()).await);
    }
    let pays = gates.iter().flat_map(|gate| (0..4).map(move |key| (gate, key)));
    let handled = pays.map(|(gate, key)| async move {
        let name = format!("{key}");
        let work = async |on: &mut B::Connection| Ok(B::pay(on, &name).await.map(drop)?);
        handle::<B>(gate, job(&name), work).await
    });
    let decisions = futures_util::future::join_all(handled).await;
    assert!(decisions.iter().all(|decision| decision.verdict == Verdict::Ack), "{decisions:?}");
    let completed = decisions.iter().filter(|decision| decision.outcome == Outcome::Completed).count();
    assert_eq!((completed, bank.paid().await), (4, 4));
}

pub(crate) async fn a_swallowed_failure_is_not_acked<B: Bank>() {
    let bank = B::open().await;
    let gate = gate(&bank, settings()).await;
    let swallowed = handle::<B>(&gate, job("1"), async |on: &mut B::Connection| {
        B::pay(on, "1").await?;
        // The handler ends its transaction behind idem's back.
        B::execute(on, "ROLLBACK").await?;
        Ok(())
    });
    let swallowed = swallowed.await;
    assert_eq!((swallowed.outcome, swallowed.attempt, bank.paid().await), (Outcome::Failed, 1, 0));
    assert!(swallowed.reason.unwrap().contains("neither commits nor rolls back"));
    let done =
        handle::<B>(&gate, job("1"), async |on: &mut B::Connection| Ok(B::pay(on, "1").await.map(drop)?));
    assert_eq!((done.await.outcome, bank.paid().await), (Outcome::Completed, 1));
}

pub(crate) async fn a_lease_from_before_a_deploy_is_respected<B: Bank>() {
    let bank = B::open().await;
    let lease = lease("1");
    let store = bank.store(20 * SECOND).await;
    store.claim(std::slice::from_ref(&lease)).await.unwrap().remove(0).unwrap();
    let gate = gate(&bank, settings()).await;
    let conflict =
        handle::<B>(&gate, job("1"), async |_: &mut B::Connection| panic!("leased to another")).await;
    assert_eq!(conflict.outcome, Outcome::InProgress);
    let deadline = tokio::time::Instant::now() + 30 * SECOND;
    loop {
        let work = async |on: &mut B::Connection| Ok(B::pay(on, "1").await.map(drop)?);
        let decision = handle::<B>(&gate, job("1"), work).await;
        if decision.verdict == Verdict::Ack {
            assert_eq!((decision.outcome, decision.attempt), (Outcome::Completed, 1));
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "{decision:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let late = [idem_core::store::CompleteRequest::new(
        lease.key,
        lease.token,
        idem_core::Fence(1),
        lease.retention,
        idem_core::MemberId::random(),
    )];
    assert_eq!(store.complete(&late).await.unwrap().remove(0).unwrap(), Answer::Lost);
}

/// Leases beside it would lapse while a long handler works.
pub(crate) async fn an_open_transaction_holds_up_no_lease_of_another_key<B: Bank>() {
    let bank = B::open().await;
    let store = bank.store(SECOND).await;
    let gate = gate(&bank, settings()).await;
    let leased: Vec<_> = ["2", "3", "4"].map(lease).into();
    let done = handle::<B>(&gate, job("1"), async |on: &mut B::Connection| {
        B::pay(on, "1").await?;
        for claimed in store.claim(&leased).await? {
            assert!(matches!(claimed, Ok(Claim::Claimed { .. })), "{claimed:?}");
        }
        let to_renew = leased.iter().cloned().map(|ClaimRequest { key, token, lease, retention, .. }| {
            RenewRequest { key, token, lease, retention, ends_doubt: None }
        });
        let to_release = leased.iter().cloned().map(|ClaimRequest { key, token, retention, .. }| {
            ReleaseRequest::new(key, token, retention, Attempts::Keep)
        });
        let renewed = store.renew(&to_renew.collect::<Vec<_>>()).await?;
        for answer in renewed.into_iter().chain(store.release(&to_release.collect::<Vec<_>>()).await?) {
            assert_eq!(answer?, Answer::Done);
        }
        Ok(())
    });
    let done = done.await;
    assert_eq!((done.outcome, done.attempt), (Outcome::Completed, 1), "{done:?}");
}

/// No handler is to begin behind a key that somebody else works on.
pub(crate) async fn claims_together_with_a_taken_key_are_a_conflict<B: Bank>() {
    let bank = B::open().await;
    let [first, second] = [bank.store(SECOND).await, bank.store(SECOND).await];
    let mut one = first.transactions().unwrap().begin().await.unwrap();
    assert!(matches!(one.claim(&lease("2")).await.unwrap(), Claim::Claimed { .. }));
    let mut two = second.transactions().unwrap().begin().await.unwrap();
    let error = two.claim_all(&["1", "2", "3"].map(lease)).await.unwrap_err();
    assert!(error.is_conflict(), "{error:?}");
    two.rollback().await;
    one.rollback().await;
}

pub(crate) async fn a_wait_for_another_claim_is_bounded<B: Bank>() {
    let bank = B::open().await;
    let first = gate(&bank, settings()).await;
    let second = gate_that_waits(&bank, settings(), SECOND).await;
    let (begun, has_begun) = oneshot::channel();
    let (end, ended) = oneshot::channel();
    let one = handle::<B>(&first, job("1"), async move |on: &mut B::Connection| {
        B::pay(on, "1").await?;
        let _ = begun.send(());
        ended.await.map_err(HandlerError::from)
    });
    let two = async {
        has_begun.await.unwrap();
        let conflict =
            handle::<B>(&second, job("1"), async |_: &mut B::Connection| panic!("it is taken")).await;
        end.send(()).unwrap();
        conflict
    };
    let (one, two) = tokio::join!(one, two);
    assert_eq!((one.outcome, two.outcome), (Outcome::Completed, Outcome::InProgress));
}

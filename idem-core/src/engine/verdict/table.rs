//! The rows of the table, one test each.
#![expect(clippy::unnecessary_wraps, reason = "the answers, payloads and digests are as production has them")]

use std::ops::ControlFlow;

use super::*;
use crate::doubt::{Doubt, Happened, MemberId};
use crate::record::Fence;
use crate::store::StoreError;

/// Each row is a test of its own: what is asked, and the answer.
macro_rules! rows {
    ($($name:ident: $asked:expr => $answer:expr;)*) => {
        $(#[test] fn $name() { assert_eq!($asked, $answer); })*
    };
}

const NEW: Arrival = Arrival { fingerprint: None, redeliveries: 0, failures: 0 };
const CALM: Patience = Patience { failures: 0, waited: Duration::ZERO };
const LAST: u32 = 16;

rows! {
    // The answer to a claim.
    a_claimed_key_runs: at_claim(&claimed(1)) => Admit::Run { attempt: 1 };
    an_expired_record_takes_the_attempts_of_the_message: claim(&policy(), &Arrival { failures: 4, ..NEW }, &CALM, &claimed(1)) => Admit::Run { attempt: 5 };
    the_greater_count_of_attempts_counts: claim(&policy(), &Arrival { failures: 4, ..NEW }, &CALM, &claimed(9)) => Admit::Run { attempt: 9 };
    the_last_attempt_runs: at_claim(&claimed(LAST)) => Admit::Run { attempt: LAST };
    a_key_whose_attempts_are_used_up_is_a_dead_letter: at_claim(&claimed(LAST + 1)) => Admit::DeadLetter(dead(Outcome::Exhausted).attempt(LAST).because("all attempts were used up before"));
    a_completed_key_is_a_duplicate: at_claim(&completed()) => Admit::Decide(ack(Outcome::Duplicate));
    a_key_in_progress_is_retried_after_its_lease: at_claim(&held_for(30)) => Admit::Decide(retry(30, Outcome::InProgress));
    a_key_in_progress_backs_off_with_its_redeliveries: claim(&policy(), &redelivered(6), &CALM, &held_for(30)) => Admit::Decide(retry(64, Outcome::InProgress));
    a_key_in_progress_backs_off_no_longer_than_the_time_out: claim(&policy(), &redelivered(99), &CALM, &held_for(30)) => Admit::Decide(retry(300, Outcome::InProgress));
    a_key_in_progress_is_waited_for_in_place: waiting(0, &held_for(30)) => Admit::Wait(Duration::from_millis(250));
    a_lease_that_ends_soon_is_looked_at_then: waiting(0, &held_for(0)) => Admit::Wait(Duration::from_millis(10));
    a_wait_in_place_has_a_bound: waiting(5, &held_for(30)) => Admit::Decide(retry(30, Outcome::InProgress));

    // A run before ended without an answer.
    after_a_doubt_the_handler_runs_again: after(UncertainRun::Run, 2) => Admit::Run { attempt: 2 };
    after_a_doubt_the_check_is_asked_in_its_run: after(UncertainRun::Check, 2) => Admit::Run { attempt: 2 };
    after_a_doubt_no_handler_runs_where_it_must_not: admitted(&after(UncertainRun::Hold, 2)) => Some((Verdict::DeadLetter, Outcome::Uncertain, 1));
    a_doubt_stays_one_when_the_attempts_are_used_up: admitted(&after(UncertainRun::Check, LAST + 1)) => Some((Verdict::DeadLetter, Outcome::Uncertain, LAST));
    a_doubt_makes_no_difference_to_attempts_that_are_used_up: admitted(&after(UncertainRun::Run, LAST + 1)) => Some((Verdict::DeadLetter, Outcome::Exhausted, LAST));
    without_a_doubt_a_handler_runs: claim(&uncertain(UncertainRun::Hold), &NEW, &CALM, &claimed(1)) => Admit::Run { attempt: 1 };
    in_a_transaction_the_handlers_own_doubt_counts: claim_inside(claimed_after(2, DoubtCause::Uncertain).unwrap()) => claimed_after(2, DoubtCause::Uncertain).unwrap();
    in_a_transaction_no_other_doubt_counts: claim_inside(claimed_after(2, DoubtCause::Vanished).unwrap()) => Claim::Claimed { fence: Fence(2), attempt: 2, after: None };

    // The doubt that a run leaves.
    a_handler_may_say_that_it_does_not_know: doubt(&unsure(), false) => Some(DoubtCause::Uncertain);
    a_panic_leaves_a_doubt: doubt(&RunEnd::Panicked, true) => Some(DoubtCause::Panicked);
    a_time_out_leaves_a_doubt: doubt(&RunEnd::TimedOut, true) => Some(DoubtCause::TimedOut);
    a_lost_lease_leaves_a_doubt: doubt(&RunEnd::LeaseLost, true) => Some(DoubtCause::LeaseLost);
    a_shutdown_leaves_a_doubt: doubt(&RunEnd::Shutdown, true) => Some(DoubtCause::Shutdown);
    a_clean_error_leaves_none: doubt(&error(), true) => None;
    a_rejection_leaves_none: doubt(&rejection(), true) => None;
    a_run_that_was_never_polled_leaves_none: [RunEnd::Panicked, RunEnd::TimedOut, RunEnd::LeaseLost, RunEnd::Shutdown].map(|end| doubt(&end, false)) => [None; 4];
    an_unanswered_check_leaves_the_doubt_as_it_is: doubt(&unknown("?"), true) => None;

    // Where no run may follow one without an answer.
    an_uncertain_run_is_held: held_back(&unsure(), true) => (Settlement::Hold, Outcome::Uncertain);
    a_panicked_run_is_held: held_back(&RunEnd::Panicked, true) => (Settlement::Hold, Outcome::Uncertain);
    a_run_that_took_too_long_is_held: held_back(&RunEnd::TimedOut, true) => (Settlement::Hold, Outcome::Uncertain);
    a_panic_that_was_undone_is_not_held: held_back(&RunEnd::Panicked, false) => (Settlement::Release(Attempts::Count), Outcome::Panicked);
    a_clean_error_is_not_held: held_back(&error(), true) => (Settlement::Release(Attempts::Count), Outcome::Failed);
    a_run_that_was_shut_down_is_found_in_doubt_later: held_back(&RunEnd::Shutdown, true) => (Settlement::Release(Attempts::Keep), Outcome::Shutdown);
    a_run_without_its_lease_is_found_in_doubt_later: held_back(&RunEnd::LeaseLost, true) => (Settlement::Release(Attempts::Keep), Outcome::LeaseLost);

    // The answer of a check.
    a_check_that_found_the_effect_completes: checked(Some(Ok(Happened::Yes))) => ControlFlow::Break(RunEnd::Ok);
    a_check_that_found_nothing_runs: checked(Some(Ok(Happened::No))) => ControlFlow::Continue(());
    a_check_that_does_not_know_ends_the_run: checked(Some(Ok(Happened::Unknown))) => ControlFlow::Break(unknown("the check does not know what became of it"));
    a_check_that_fails_ends_the_run: checked(Some(Err("away".into()))) => ControlFlow::Break(unknown("away"));
    a_check_that_panics_ends_the_run: checked(None) => ControlFlow::Break(unknown("the check panicked"));
    an_unanswered_check_counts: told(1, &unknown("?")) => Settlement::Release(Attempts::Count);
    the_last_unanswered_check_holds: told(LAST, &unknown("?")) => Settlement::Hold;
    an_unanswered_check_is_asked_again_with_the_backoff: end(2, &unknown("?")) => retry(30, Outcome::Uncertain).attempt(2).because("?");
    the_last_unanswered_check_is_a_dead_letter: shape(&end(LAST, &unknown("?"))) => (Verdict::DeadLetter, Outcome::Uncertain);
    work_that_a_check_found_done_is_acked: completing(Completion::FoundDone, false) => ack(Outcome::FoundDone).attempt(1);

    // The store fails at the claim.
    a_failing_store_holds: at_claim(&failed()) => Admit::Hold(Duration::from_millis(50));
    a_store_that_goes_on_failing_holds_for_a_second_at_most: claim(&policy(), &NEW, &Patience { failures: 99, ..CALM }, &failed()) => Admit::Hold(secs(1));
    a_failing_store_runs_without_dedup_where_it_may: claim(&failing(StoreFailure::Open), &redelivered(2), &CALM, &failed()) => Admit::RunWithoutDedup { attempt: 3 };
    a_failing_store_retries_where_it_may: claim(&failing(StoreFailure::Retry), &redelivered(1), &CALM, &failed()) => Admit::Decide(retry(30, Outcome::StoreFailed).because(away().to_string()));

    // The same key with another payload.
    payloads_are_not_compared: at_other(FingerprintMismatch::Ignore, State::Completed) => None;
    another_payload_is_a_dead_letter: at_other(FingerprintMismatch::DeadLetter, State::Completed) => Some(Admit::DecideAlone(dead(Outcome::FingerprintMismatch).because("the key is known under another payload")));
    another_payload_of_a_key_in_progress_is_a_dead_letter: at_other(FingerprintMismatch::DeadLetter, State::InProgress) => at_other(FingerprintMismatch::DeadLetter, State::Completed);
    another_payload_is_a_duplicate_where_it_may: at_other(FingerprintMismatch::Duplicate, State::Completed) => Some(Admit::DecideAlone(ack(Outcome::FingerprintMismatch)));
    another_payload_of_a_key_in_progress_is_no_duplicate: at_other(FingerprintMismatch::Duplicate, State::InProgress) => None;
    another_payload_runs_where_it_may: at_other(FingerprintMismatch::Run, State::InProgress) => Some(Admit::RunWithoutDedup { attempt: 1 });
    the_same_payload_makes_no_difference: mismatch(&comparing(FingerprintMismatch::DeadLetter), State::Completed, print("one"), &paying("one")) => None;
    an_unknown_payload_makes_no_difference: mismatch(&comparing(FingerprintMismatch::DeadLetter), State::Completed, None, &paying("one")) => None;

    // The end of a run: it is recorded in the store, and then the message is decided.
    ok_completes: told(1, &RunEnd::Ok) => Settlement::Complete;
    ok_of_the_last_attempt_completes: told(LAST, &RunEnd::Ok) => Settlement::Complete;
    an_error_releases_and_counts: told(1, &error()) => Settlement::Release(Attempts::Count);
    the_last_error_holds: told(LAST, &error()) => Settlement::Hold;
    a_panic_releases_and_counts: told(1, &RunEnd::Panicked) => Settlement::Release(Attempts::Count);
    the_last_panic_holds: told(LAST, &RunEnd::Panicked) => Settlement::Hold;
    a_time_out_releases_and_counts: told(1, &RunEnd::TimedOut) => Settlement::Release(Attempts::Count);
    the_last_time_out_holds: told(LAST, &RunEnd::TimedOut) => Settlement::Hold;
    a_rejection_holds: told(1, &rejection()) => Settlement::Hold;
    a_lost_lease_releases_and_counts_nothing: told(LAST, &RunEnd::LeaseLost) => Settlement::Release(Attempts::Keep);
    a_shutdown_releases_and_counts_nothing: told(LAST, &RunEnd::Shutdown) => Settlement::Release(Attempts::Keep);

    ok_without_dedup_is_acked: end(1, &RunEnd::Ok) => ack(Outcome::CompletedWithoutDedup).attempt(1);
    an_error_is_retried_with_the_backoff: end(2, &error()) => retry(30, Outcome::Failed).attempt(2).because("no");
    an_error_may_choose_its_delay: end(2, &error_after(77)) => retry(77, Outcome::Failed).attempt(2).because("no");
    the_last_error_is_a_dead_letter: end(LAST, &error_after(77)) => dead(Outcome::Exhausted).attempt(LAST).because("no");
    a_panic_is_retried: end(1, &RunEnd::Panicked) => retry(10, Outcome::Panicked).attempt(1).because("the handler panicked");
    the_last_panic_is_a_dead_letter: end(LAST, &RunEnd::Panicked) => dead(Outcome::Exhausted).attempt(LAST).because("the handler panicked");
    a_time_out_is_retried: end(1, &RunEnd::TimedOut) => retry(10, Outcome::TimedOut).attempt(1).because("the handler took longer than its time-out of 300s");
    a_rejection_is_a_dead_letter_at_once: end(1, &rejection()) => dead(Outcome::Rejected).attempt(1).because("never");
    a_lost_lease_is_retried_and_costs_nothing: ended(&policy(), &redelivered(2), LAST, &RunEnd::LeaseLost, None) => retry(4, Outcome::LeaseLost).attempt(LAST).because("the lease could not be kept, so the handler was cancelled");
    a_shutdown_leaves_the_message: end(LAST, &RunEnd::Shutdown) => leave(Outcome::Shutdown).attempt(LAST);

    // The completion of a run that returned Ok.
    a_recorded_completion_is_acked: completing(Completion::Recorded, false) => ack(Outcome::Completed).attempt(1);
    a_completion_recorded_at_a_shutdown_is_acked: completing(Completion::Recorded, true) => ack(Outcome::Completed).attempt(1);
    a_key_completed_elsewhere_is_acked: completing(Completion::RecordedElsewhere, false) => ack(Outcome::CompletedElsewhere).attempt(1);
    a_lost_completion_is_retried: completing(Completion::Lost, false) => retry(1, Outcome::CompletionLost).attempt(1);
    a_completion_lost_at_a_shutdown_is_left: completing(Completion::Lost, true) => leave(Outcome::CompletionLost).attempt(1);
    a_completion_without_an_answer_is_left: completing(Completion::Unanswered, true) => leave(Outcome::CompletionLost).attempt(1);

    // Transactions.
    what_was_rolled_back_is_retried_and_costs_nothing: rolled_back(&policy(), &redelivered(3), "gone") => retry(8, Outcome::TransactionFailed).because("gone");
    a_failed_transaction_counts_where_its_key_is_claimed: recount(&policy(), &NEW, &claimed(1)) => None;
    a_failed_transaction_of_a_completed_key_is_a_duplicate: recount(&policy(), &NEW, &completed()) => Some(ack(Outcome::Duplicate));
    a_failed_transaction_of_a_key_in_progress_waits: recount(&policy(), &NEW, &held_for(30)) => Some(retry(30, Outcome::InProgress));
    a_failed_transaction_that_cannot_be_counted_costs_nothing: recount(&policy(), &NEW, &failed()) => Some(retry(1, Outcome::TransactionFailed).because(away().to_string()));
    a_commit_by_the_handler_is_a_dead_letter: shape(&committed_by_handler(Some(&error()))) => (Verdict::DeadLetter, Outcome::CommittedByHandler);

    // Messages that cannot be handled.
    an_undecodable_message_is_a_dead_letter_as_far_as_the_tolerance_goes: bad(&policy(), Unfit::Undecodable, 1) => AdmitUnfit::DeadLetter(dead(Outcome::Undecodable).attempt(1).because("bad"));
    an_undecodable_message_is_retried_where_it_may: bad(&retrying(), Unfit::Undecodable, 2) => AdmitUnfit::Decide(retry(30, Outcome::Undecodable).attempt(2).because("bad"));
    the_last_retry_of_an_undecodable_message_is_a_dead_letter: bad(&retrying(), Unfit::Undecodable, LAST) => AdmitUnfit::Decide(dead(Outcome::Undecodable).attempt(LAST).because("bad"));
    a_message_without_a_key_is_a_dead_letter_as_far_as_the_tolerance_goes: bad(&policy(), Unfit::MissingKey, 1) => AdmitUnfit::DeadLetter(dead(Outcome::MissingKey).attempt(1).because("bad"));
    a_message_without_a_key_is_retried_where_it_may: bad(&retrying(), Unfit::MissingKey, 1) => AdmitUnfit::Decide(retry(10, Outcome::MissingKey).attempt(1).because("bad"));
    a_message_without_a_key_runs_where_it_may: bad(&keyless(), Unfit::MissingKey, 1) => AdmitUnfit::RunWithoutDedup;

    // Messages that are not run here, or not now.
    a_message_without_a_handler_is_retried: shape(&no_handler(0)) => (Verdict::Retry(secs(10)), Outcome::NoHandler);
    a_message_of_a_slow_handler_is_sent_back: shape(&deferred(&policy(), 0)) => (Verdict::Retry(secs(10)), Outcome::Deferred);
    a_message_waits_for_the_one_before_it: waits() => leave(Outcome::Waiting);
    a_message_that_is_held_is_left: shape(&held(Unfit::MissingKey)) => (Verdict::Leave, Outcome::MissingKey);
    a_message_is_left_at_a_shutdown: shutdown() => leave(Outcome::Shutdown);

    // Messages that wait for the first one of their key.
    a_follower_of_a_completed_key_is_a_duplicate: follow(ack(Outcome::Completed).attempt(3)) => ack(Outcome::Duplicate);
    a_follower_of_a_retried_key_waits_as_long: follow(retry(30, Outcome::Failed).attempt(3)) => retry(30, Outcome::InProgress);
    a_follower_of_a_dead_letter_is_one_too: follow(dead(Outcome::Rejected).attempt(3)) => dead(Outcome::Rejected).attempt(3);
    a_follower_of_a_key_that_is_left_is_left: follow(leave(Outcome::CompletionLost).attempt(3)) => leave(Outcome::CompletionLost);
    a_lost_lease_says_nothing_to_followers: is_shared(&retry(1, Outcome::LeaseLost)) => false;
    a_shutdown_says_nothing_to_followers: is_shared(&leave(Outcome::Shutdown)) => false;
    a_failed_transaction_says_nothing_to_followers: is_shared(&retry(1, Outcome::TransactionFailed)) => false;
    a_failure_says_it_all_to_followers: is_shared(&retry(1, Outcome::Failed)) => true;

    // The number of failures that a copy carries.
    a_failure_is_carried_on: failures(&retry(1, Outcome::Failed).attempt(3), 1) => 3;
    a_rejection_is_carried_on: failures(&dead(Outcome::Rejected).attempt(3), 1) => 3;
    an_undecodable_message_was_an_attempt: failures(&retry(1, Outcome::Undecodable).attempt(2), 1) => 2;
    a_doubt_is_carried_on: failures(&dead(Outcome::Uncertain).attempt(3), 1) => 3;
    a_conflict_is_no_failure: failures(&retry(1, Outcome::InProgress), 1) => 1;
    a_lost_lease_is_no_failure: failures(&retry(1, Outcome::LeaseLost).attempt(3), 1) => 1;
}

/// There is one line for each row, and it is in this module.
#[test]
fn nothing_is_decided_elsewhere() {
    let is_table = |path: &str| path.ends_with("/outcome.rs") || path.contains("/engine/verdict");
    let mut elsewhere = crate::sources::all();
    elsewhere.retain(|source| !is_table(&source.path) && source.code.contains("Decision::new("));
    let elsewhere: Vec<_> = elsewhere.into_iter().map(|source| source.path).collect();
    assert!(elsewhere.is_empty(), "{elsewhere:#?}");
}

fn policy() -> Policy {
    Policy::default()
}

fn failing(store_failure: StoreFailure) -> Policy {
    Policy { store_failure, ..policy() }
}

fn comparing(fingerprint: FingerprintMismatch) -> Policy {
    Policy { fingerprint, ..policy() }
}

fn retrying() -> Policy {
    Policy { undecodable: Undecodable::Retry, missing_key: MissingKey::Retry, ..policy() }
}

fn keyless() -> Policy {
    Policy { missing_key: MissingKey::RunWithoutDedup, ..policy() }
}

fn at_claim(answer: &Result<Claim, StoreError>) -> Admit {
    claim(&policy(), &NEW, &CALM, answer)
}

fn waiting(waited: u64, answer: &Result<Claim, StoreError>) -> Admit {
    let policy = Policy { in_progress: InProgress::Wait(secs(5)), ..policy() };
    claim(&policy, &NEW, &Patience { waited: secs(waited), ..CALM }, answer)
}

fn at_other(choice: FingerprintMismatch, state: State) -> Option<Admit> {
    mismatch(&comparing(choice), state, print("one"), &paying("two"))
}

fn told(attempt: u32, end: &RunEnd) -> Settlement {
    settlement(&policy(), attempt, end, doubt(end, true))
}

fn end(attempt: u32, end: &RunEnd) -> Decision {
    ended(&policy(), &NEW, attempt, end, doubt(end, true))
}

fn completing(how: Completion, is_stopped: bool) -> Decision {
    completion(&policy(), &NEW, 1, how, is_stopped)
}

fn bad(policy: &Policy, what: Unfit, attempt: u32) -> AdmitUnfit {
    unfit(policy, what, attempt, "bad")
}

fn claimed(attempt: u32) -> Result<Claim, StoreError> {
    Ok(Claim::Claimed { fence: Fence(1), attempt, after: None })
}

fn claimed_after(attempt: u32, cause: DoubtCause) -> Result<Claim, StoreError> {
    Ok(Claim::Claimed { fence: Fence(2), attempt, after: Some(in_doubt_since(cause)) })
}

fn in_doubt_since(cause: DoubtCause) -> Doubt {
    Doubt { cause, fence: Fence(1), attempt: 1, member: MemberId::from_bytes([1; 8]) }
}

fn uncertain(uncertain: UncertainRun) -> Policy {
    Policy { uncertain, ..policy() }
}

fn after(choice: UncertainRun, attempt: u32) -> Admit {
    claim(&uncertain(choice), &NEW, &CALM, &claimed_after(attempt, DoubtCause::Vanished))
}

fn admitted(admit: &Admit) -> Option<(Verdict, Outcome, u32)> {
    match admit {
        Admit::DeadLetter(decision) => Some((decision.verdict, decision.outcome, decision.attempt)),
        _ => None,
    }
}

fn held_back(end: &RunEnd, began: bool) -> (Settlement, Outcome) {
    let (policy, left) = (uncertain(UncertainRun::Hold), doubt(end, began));
    (settlement(&policy, 1, end, left), ended(&policy, &NEW, 1, end, left).outcome)
}

fn unsure() -> RunEnd {
    RunEnd::Failed { disposition: Disposition::Retry(None), is_uncertain: true, reason: "no answer".into() }
}

fn completed() -> Result<Claim, StoreError> {
    Ok(Claim::Completed { fingerprint: None, reply: None })
}

fn held_for(seconds: u64) -> Result<Claim, StoreError> {
    Ok(Claim::InProgress { remaining: secs(seconds), fingerprint: None })
}

fn failed() -> Result<Claim, StoreError> {
    Err(away())
}

fn away() -> StoreError {
    StoreError::unavailable("away")
}

fn error() -> RunEnd {
    RunEnd::Failed { disposition: Disposition::Retry(None), is_uncertain: false, reason: "no".into() }
}

fn error_after(seconds: u64) -> RunEnd {
    RunEnd::Failed {
        disposition: Disposition::Retry(Some(secs(seconds))),
        is_uncertain: false,
        reason: "no".into(),
    }
}

fn rejection() -> RunEnd {
    RunEnd::Failed { disposition: Disposition::Reject, is_uncertain: false, reason: "never".into() }
}

fn ack(outcome: Outcome) -> Decision {
    Decision::new(Verdict::Ack, outcome)
}

fn retry(seconds: u64, outcome: Outcome) -> Decision {
    Decision::new(Verdict::Retry(secs(seconds)), outcome)
}

fn dead(outcome: Outcome) -> Decision {
    Decision::new(Verdict::DeadLetter, outcome)
}

fn leave(outcome: Outcome) -> Decision {
    Decision::new(Verdict::Leave, outcome)
}

fn shape(decision: &Decision) -> (Verdict, Outcome) {
    (decision.verdict, decision.outcome)
}

fn redelivered(redeliveries: u32) -> Arrival {
    Arrival { redeliveries, ..NEW }
}

fn paying(payload: &str) -> Arrival {
    Arrival { fingerprint: print(payload), ..NEW }
}

fn print(payload: &str) -> Option<Fingerprint> {
    Some(Fingerprint::of(payload.as_bytes()))
}

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

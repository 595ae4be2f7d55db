//! Handlers in one transaction with their record, on each database.

mod batches;
mod driver;
mod ended;
mod fences;
pub(crate) mod group_commits;
mod mysql;
mod postgres;
pub(crate) mod rules;
mod sqlite;
pub(crate) mod together;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use idem_core::engine::{Admission, Commit, Engine, Entry, Gate, Job, Settled};
use idem_core::store::Store;
use idem_core::{Decision, HandlerResult, IdempotencyKey, Namespace, RecordKey, Settings};
use tokio::time::timeout;

/// A database with a table of the business beside idem's: `payments (id, amount)`.
pub(crate) trait Bank: Send + Sync + Sized + 'static {
    type Connection: Send + 'static;
    /// Whether a handler that commits by itself commits what it did, or is refused.
    const LETS_COMMIT: bool = true;

    fn open() -> impl Future<Output = Self> + Send;
    /// A store in that database, as another process would have it; a claim waits for another one no longer than `wait`.
    fn store(&self, wait: Duration) -> impl Future<Output = Arc<dyn Store>> + Send;
    fn execute(on: &mut Self::Connection, sql: &str) -> impl Future<Output = sqlx::Result<u64>> + Send;
    /// How many payments there are.
    fn paid(&self) -> impl Future<Output = i64> + Send;

    /// A handler's work.
    fn pay(on: &mut Self::Connection, id: &str) -> impl Future<Output = sqlx::Result<u64>> + Send {
        let sql = format!("INSERT INTO payments (id, amount) VALUES ('{id}', 1)");
        async move { Self::execute(on, &sql).await }
    }
}

const SECOND: Duration = Duration::from_secs(1);

pub(crate) fn job(name: &str) -> Job {
    let key = RecordKey::new(Namespace::new(["bank"]), IdempotencyKey::new(name).unwrap());
    Job { key, fingerprint: None, redeliveries: 0, failures: 0 }
}

/// The gate of a transactional handler in a process of its own.
pub(crate) async fn gate<B: Bank>(bank: &B, settings: Settings) -> Gate {
    gate_that_waits(bank, settings, 20 * SECOND).await
}

pub(crate) async fn gate_that_waits<B: Bank>(bank: &B, settings: Settings, wait: Duration) -> Gate {
    gate_that_commits(bank, settings, wait, Commit::Each).await
}

pub(crate) async fn gate_that_commits<B: Bank>(
    bank: &B,
    settings: Settings,
    wait: Duration,
    commit: Commit,
) -> Gate {
    let engine = Engine::new(bank.store(wait).await);
    let gate = engine.transactional_gate("pay", settings.resolve().unwrap(), commit, None);
    gate.expect("a store with transactions")
}

/// One message's whole way; a dead letter counts as stored.
pub(crate) async fn handle<B: Bank>(
    gate: &Gate,
    job: Job,
    work: impl AsyncFnOnce(&mut B::Connection) -> HandlerResult,
) -> Decision {
    let handling = async {
        let Entry::Leader(leader) = gate.enter(job) else {
            panic!("no other message of this key is under way")
        };
        let mut admission = gate.claim(&mut VecDeque::from([leader])).await.remove(0);
        let Settled { decision, held } = loop {
            admission = match admission {
                Admission::Later(later) => later.await,
                Admission::Decided(settled) => break settled,
                Admission::Run(claimed) => {
                    let open = claimed.transaction().expect("an open transaction");
                    let run = claimed.run(|_, _| async move {
                        let mut lent = open.lend().expect("nobody else has it");
                        work(lent.connection().downcast_mut().expect("the database's connection")).await
                    });
                    break gate.settle_one(run.await).await;
                }
            };
        };
        if let Some(held) = held {
            held.release(&decision).await;
        }
        decision
    };
    timeout(60 * SECOND, handling).await.expect("a message is decided within a minute")
}

/// The rules, as tests of one database.
macro_rules! transaction_tests {
    ($bank:ident) => {
        $crate::transactions::transaction_tests! {
            $bank:
            invariant_6_effect_and_record_commit_together_or_not_at_all
            what_a_handler_does_elsewhere_is_repeated
            a_rejected_message_leaves_nothing_and_can_be_replayed
            the_last_attempt_is_a_dead_letter
            a_duplicate_elsewhere_waits_and_is_told_what_became_of_the_first
            many_duplicates_on_few_connections_end
            a_swallowed_failure_is_not_acked
            a_lease_from_before_a_deploy_is_respected
        }
        $crate::transactions::transaction_tests! {
            $bank: fences:
            invariant_7_fences_grow_from_transaction_to_transaction
        }
        mod together {
            use super::$bank;

            $crate::transactions::transaction_tests! {
                $bank: together:
                a_batch_commits_with_all_its_records_or_not_at_all
                a_call_that_fails_is_made_again_for_each_message_alone
                a_bad_message_takes_no_other_one_with_it_up_to_its_dead_letter
                a_message_that_is_said_to_have_failed_is_undone_with_the_others_and_they_are_done_alone
                a_rejected_message_of_a_batch_is_a_dead_letter_and_no_other_one
                duplicates_beside_a_batch_are_answered
                a_duplicate_in_another_transaction_waits_and_is_answered
                a_message_without_attempts_left_is_no_part_of_the_batch
                a_batch_that_ends_its_transaction_is_not_acked
                batches_that_cross_end_and_do_each_key_once
                a_dropped_run_commits_nothing_and_its_neighbours_are_done_alone
            }
        }
        mod group_commits {
            use super::$bank;

            $crate::transactions::transaction_tests! {
                $bank: group_commits:
                what_fails_in_its_savepoint_is_undone_alone
                a_savepoint_s_time_begins_with_its_turn
                only_the_bad_one_counts_attempts_up_to_its_dead_letter
                one_that_commits_by_itself_repeats_nothing_of_the_others
                one_that_ends_the_transaction_is_not_acked_and_the_others_are_done
                batches_that_cross_end_and_do_each_key_once
                a_run_dropped_in_its_savepoint_commits_nothing
            }
        }
    };
    ($bank:ident: $($rule:ident)*) => {
        $crate::transactions::transaction_tests! { $bank: rules: $($rule)* }
    };
    ($bank:ident: $rules:ident: $($rule:ident)*) => {$(
        #[tokio::test]
        async fn $rule() {
            $crate::transactions::$rules::$rule::<$bank>().await;
        }
    )*};
}

pub(crate) use transaction_tests;

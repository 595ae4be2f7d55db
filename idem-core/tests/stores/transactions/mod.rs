//! A handler's effect and its record commit together, on each database.
//!
//! Run alone: `cargo test -p idem-core --all-features --test stores -- transactions::`

#[cfg(feature = "postgres")]
mod driver;
#[cfg(all(feature = "mysql", feature = "postgres", feature = "sqlite"))]
mod ended;
mod fences;
pub(crate) mod group_commits;
#[cfg(feature = "mysql")]
mod mysql;
#[cfg(feature = "postgres")]
mod postgres;
pub(crate) mod rules;
#[cfg(feature = "sqlite")]
mod sqlite;
pub(crate) mod together;

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
                a_run_that_shares_a_transaction_is_told_of_the_handlers_own_doubt
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

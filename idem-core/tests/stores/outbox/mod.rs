//! A local transaction and its marker commit together, on each database.
//!
//! Run alone: `cargo test -p idem-core --all-features --test stores -- outbox::`

#[cfg(feature = "mysql")]
mod mysql;
#[cfg(feature = "postgres")]
mod postgres;
mod rules;
#[cfg(feature = "sqlite")]
mod sqlite;

/// The rules, as tests of one database.
macro_rules! outbox_tests {
    ($shop:ty) => {
        $crate::outbox::outbox_tests! {
            $shop:
            marker_and_work_commit_together_or_not_at_all
            what_was_decided_stays_so_and_a_late_transaction_fails_on_its_own_marker
            a_decision_waits_for_the_transaction_within_a_bound
            a_key_is_committed_once_and_can_be_tried_again
            work_that_ends_the_transaction_itself_is_not_confirmed
            a_committed_message_is_due_until_it_is_confirmed
            only_what_is_decided_and_confirmed_is_deleted
            one_member_sweeps_at_a_time
            an_outbox_belongs_to_one_producer_group
            tables_that_do_not_fit_are_errors_that_say_what_to_do
            names_and_times_that_are_refused
            long_keys_and_large_messages_are_kept
            a_probe_leaves_nothing_behind
        }
    };
    ($shop:ty: $($rule:ident)*) => {$(
        #[tokio::test]
        async fn $rule() {
            $crate::outbox::rules::$rule::<$shop>().await;
        }
    )*};
}

pub(crate) use outbox_tests;

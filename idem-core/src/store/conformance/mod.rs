//! The rules that every store keeps, as a suite that any store can run.
//!
//! A store's author writes a [`Harness`] and lets [`conformance_tests!`](crate::conformance_tests) make one
//! test of each rule, so that a failure has the rule's name:
//!
//! ```no_run
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use futures_util::future::BoxFuture;
//! use idem_core::store::conformance::Harness;
//! use idem_core::{MemoryStore, Store};
//!
//! struct Memory;
//!
//! impl Harness for Memory {
//!     fn store(&self) -> BoxFuture<'_, Arc<dyn Store>> {
//!         Box::pin(async { Arc::new(MemoryStore::new()) as Arc<dyn Store> })
//!     }
//!
//!     fn pass(&self, time: Duration) -> BoxFuture<'_, ()> {
//!         Box::pin(tokio::time::sleep(time))
//!     }
//! }
//!
//! idem_core::conformance_tests!(Memory);
//! # fn main() {}
//! ```
//!
//! The rules take fresh namespaces, so that they can run side by side on one server.

mod bench;
#[doc(hidden)]
pub mod rules;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, ready};

use super::Store;
use crate::key::RecordKey;

/// The part of the suite that a store's author writes.
pub trait Harness: Send + Sync {
    /// A store. All stores of one harness may share their records.
    fn store(&self) -> BoxFuture<'_, Arc<dyn Store>>;

    /// Lets the store's clock go on: a sleep for a real server, an advance for a paused clock.
    fn pass(&self, time: Duration) -> BoxFuture<'_, ()>;

    /// An empty store that has room for this many records and fails when it is full; `None` where the store
    /// is not bounded.
    fn bounded(&self, records: usize) -> BoxFuture<'_, Option<Arc<dyn Store>>> {
        let _ = records;
        Box::pin(ready(None))
    }

    /// Puts raw bytes in the place where the store keeps the record of this key, as another program or a newer
    /// version would. `false` where nobody else can write there; the rules about foreign values then hold by
    /// themselves.
    fn plant<'a>(&'a self, key: &'a RecordKey, bytes: &'a [u8]) -> BoxFuture<'a, bool> {
        let _ = (key, bytes);
        Box::pin(ready(false))
    }

    /// The raw bytes that are kept in that place. Asked for only where [`plant`](Self::plant) can write.
    fn raw<'a>(&'a self, key: &'a RecordKey) -> BoxFuture<'a, Option<Vec<u8>>> {
        let _ = key;
        Box::pin(ready(None))
    }
}

/// Hands the names of all rules to another macro, behind what it is given itself.
#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_rules {
    ($then:path; $($given:tt)*) => {
        $then! { $($given)*;
            invariant_1_at_most_one_live_lease_per_key
            invariant_1_no_second_claim_before_the_lease_is_over
            invariant_1_a_renewed_lease_is_live_past_its_first_end
            invariant_1_the_lease_is_measured_by_the_stores_clock
            invariant_2_stale_token_changes_nothing_and_is_lost
            invariant_2_a_finished_claim_is_lost_to_everybody_else
            invariant_2_same_token_same_answer_for_claim
            invariant_2_same_token_same_answer_for_renew
            invariant_2_same_token_same_answer_for_complete
            invariant_2_same_token_same_answer_for_release
            invariant_2_complete_of_a_lapsed_unclaimed_key_is_recorded
            invariant_2_complete_of_a_vanished_record_is_recorded
            invariant_2_renew_of_a_lapsed_unclaimed_key_holds_it_again
            invariant_2_late_copy_of_a_released_claim_changes_nothing
            invariant_2_late_copy_of_a_completed_claim_is_told_completed
            invariant_3_completed_is_never_overwritten_before_retention
            invariant_3_completed_is_forgotten_after_retention
            a_longer_life_replaces_a_shorter_one
            times_without_end_and_of_no_length_are_kept
            invariant_3_bounded_store_fails_when_full
            invariant_3_bounded_store_has_room_again_after_expiry
            invariant_7_fences_grow
            invariant_7_fences_grow_in_bursts
            invariant_7_fences_grow_when_the_clock_steps_back
            attempts_are_counted_kept_and_reset
            attempts_are_not_counted_twice_by_a_repeated_release
            attempts_survive_a_crash_and_are_not_counted_by_it
            attempts_are_forgotten_after_retention
            a_run_that_vanished_is_in_doubt
            a_doubt_is_told_to_each_claim_until_it_ends
            a_doubt_is_ended_by_its_own_name_alone
            a_known_doubt_replaces_the_one_before
            a_run_that_vanished_after_a_doubt_has_its_own
            a_completion_ends_doubt_and_last_run
            a_lost_release_raises_no_doubt
            doubts_are_forgotten_after_retention
            the_last_run_is_kept_until_another_ends
            member_and_message_are_the_last_claims
            crash_after_claim_frees_the_key_when_the_lease_is_over
            crash_of_a_renewing_holder_frees_the_key
            reply_and_fingerprint_are_kept
            fingerprint_is_the_last_claims
            a_reply_may_be_empty_large_or_any_bytes
            foreign_and_newer_records_are_errors_and_left_untouched
            a_foreign_record_does_not_fail_its_neighbours
            batches_of_every_size_answer_in_order
            equal_keys_in_a_batch_are_handled_in_order
            unusual_keys_are_kept_apart
            namespaces_are_kept_apart
            read_shows_the_record_and_remove_takes_it_out
            an_empty_batch_has_no_answers
            a_listing_has_every_record_of_a_namespace
            a_listing_takes_states_doubts_and_ages
            a_listing_leaves_out_what_has_expired
            a_listing_names_long_keys
            a_listing_shows_records_that_are_not_understood
            namespaces_are_listed_apart
            members_are_there_for_their_life
            the_trail_of_decisions_is_kept
            a_decision_ends_a_doubt
            a_live_lease_is_refused_unless_forced
            a_completed_key_is_run_again_only_where_that_is_forced
            a_decision_is_in_the_trail
            a_report_says_why
            a_decision_races_with_claims
            a_decision_races_with_duplicates
            a_decision_races_with_a_replay
            a_decision_races_with_a_purge
        }
    };
}

/// Makes one `#[tokio::test]` of each rule that a [store](crate::Store) keeps, for the given
/// [`Harness`](crate::store::conformance::Harness).
///
/// The expression is evaluated in each test, on a current-thread runtime of tokio, and may `.await`.
#[macro_export]
macro_rules! conformance_tests {
    ($harness:expr) => {
        $crate::__conformance_rules! { $crate::__conformance_test; $harness }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_test {
    ($harness:expr; $($rule:ident)*) => {$(
        #[::tokio::test]
        async fn $rule() {
            $crate::store::conformance::rules::$rule(&$harness).await;
        }
    )*};
}

/// Runs all rules one after the other, for a caller that has a test framework of its own.
///
/// # Panics
/// The store breaks a rule; the panic names it.
pub async fn run(harness: &dyn Harness) {
    macro_rules! run_each {
        (; $($rule:ident)*) => {$(
            tracing::debug!(rule = stringify!($rule), "checking");
            rules::$rule(harness).await;
        )*};
    }
    crate::__conformance_rules! { run_each; }
}

//! The shop's database, as little of it as the story needs.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use idem_rocketmq::producer::TransactionState;

/// The shop's orders. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Ledger(Arc<Mutex<HashMap<String, Entry>>>);

#[derive(Clone, Copy)]
enum Entry {
    /// Paid, and stored.
    Paid { cents: i64 },
    /// Given up: a payment that comes later must fail.
    GivenUp,
}

/// The sums of a ledger.
#[derive(Default)]
pub(crate) struct Totals {
    pub(crate) paid: usize,
    pub(crate) given_up: usize,
    pub(crate) cents: i64,
}

impl Ledger {
    /// Stores a payment: the local work of a transaction.
    pub(crate) fn pay(&self, order_id: &str, cents: i64) -> Result<(), String> {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match entries.get(order_id) {
            Some(Entry::GivenUp) => Err("the order has been given up".to_owned()),
            Some(Entry::Paid { .. }) => Err("the order is paid already".to_owned()),
            None => {
                entries.insert(order_id.to_owned(), Entry::Paid { cents });
                Ok(())
            }
        }
    }

    /// How the work of an order ended: the answer to a broker that was not told.
    ///
    /// Where nothing is stored the order is given up in the same step, so that work which comes late finds it and fails.
    /// Only so may the answer be `Rollback`; without that step it would have to be `Unknown`.
    pub(crate) fn settle(&self, order_id: &str) -> TransactionState {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match entries.entry(order_id.to_owned()).or_insert(Entry::GivenUp) {
            Entry::Paid { .. } => TransactionState::Commit,
            Entry::GivenUp => TransactionState::Rollback,
        }
    }

    pub(crate) fn totals(&self) -> Totals {
        let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut totals = Totals::default();
        for entry in entries.values() {
            match entry {
                Entry::Paid { cents } => {
                    totals.paid += 1;
                    totals.cents += cents;
                }
                Entry::GivenUp => totals.given_up += 1,
            }
        }
        totals
    }
}

//! An index in memory, with what a real one's bulk request has: a round trip, and an answer for each document.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::Order;

/// How long a request takes, whatever is in it.
const ROUND_TRIP: Duration = Duration::from_millis(20);

/// A document that the index did not take.
pub(crate) struct Refused {
    /// Its place in the request.
    pub(crate) place: usize,
    pub(crate) reason: &'static str,
}

/// Cloning shares it.
#[derive(Clone, Default)]
pub(crate) struct Index(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    cents: HashMap<String, i64>,
    requests: usize,
    written: usize,
    refused: usize,
}

impl Index {
    /// Writes documents, and says which of them it did not take.
    pub(crate) async fn bulk(&self, orders: &[Order]) -> Result<Vec<Refused>, std::io::Error> {
        tokio::time::sleep(ROUND_TRIP).await;
        let mut index = self.0.lock().map_err(|_| std::io::Error::other("the index is broken"))?;
        index.requests += 1;
        let mut refused = Vec::new();
        for (place, order) in orders.iter().enumerate() {
            if order.amount_cents < 0 {
                refused.push(Refused { place, reason: "a negative amount is no document" });
            } else {
                index.written += 1;
                index.cents.insert(order.order_id.clone(), order.amount_cents);
            }
        }
        index.refused += refused.len();
        Ok(refused)
    }

    fn look<T>(&self, at: impl Fn(&Inner) -> T) -> T {
        at(&self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// How many requests there were.
    pub(crate) fn requests(&self) -> usize {
        self.look(|index| index.requests)
    }

    /// How many documents were written, with those that were written again.
    pub(crate) fn written(&self) -> usize {
        self.look(|index| index.written)
    }

    /// How often a document was refused.
    pub(crate) fn refused(&self) -> usize {
        self.look(|index| index.refused)
    }

    /// How many documents there are.
    pub(crate) fn documents(&self) -> usize {
        self.look(|index| index.cents.len())
    }

    /// The sum of all orders.
    pub(crate) fn cents(&self) -> i64 {
        self.look(|index| index.cents.values().sum())
    }
}

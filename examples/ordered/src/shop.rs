//! Where orders are, and whether each step came when it should.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// Cloning shares it.
#[derive(Clone, Default)]
pub(crate) struct Shop(Arc<Mutex<Orders>>);

#[derive(Default)]
struct Orders {
    /// The step that each order is to take next.
    next: HashMap<String, usize>,
    steps: u64,
    wrong: u64,
    runs: u64,
}

impl Shop {
    fn orders(&self) -> std::sync::MutexGuard<'_, Orders> {
        self.0.lock().expect("no thread has panicked with it")
    }

    pub(crate) fn ran(&self) {
        self.orders().runs += 1;
    }

    pub(crate) fn take(&self, order: String, step: usize) {
        let mut orders = self.orders();
        orders.steps += 1;
        let next = orders.next.entry(order).or_default();
        let is_wrong = *next != step;
        *next = step + 1;
        orders.wrong += u64::from(is_wrong);
    }

    pub(crate) fn steps(&self) -> u64 {
        self.orders().steps
    }

    pub(crate) fn wrong(&self) -> u64 {
        self.orders().wrong
    }

    pub(crate) fn runs(&self) -> u64 {
        self.orders().runs
    }
}

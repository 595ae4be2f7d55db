//! The calls of a handler whose runs may be over and not settled yet.

use std::sync::{Arc, Weak};

use futures_util::future::BoxFuture;
use idem_core::engine::Gate;
use parking_lot::Mutex;

/// The runs of one call that are over.
pub(super) trait UnsettledCall: Send + Sync {
    /// Settles the runs that are over by now.
    fn settle_now(self: Arc<Self>, gate: Gate) -> BoxFuture<'static, ()>;
}

/// The calls that are beginning runs of a handler.
///
/// A call settles its runs when all of them have begun. Where one of them blocks the thread meanwhile, the next look does, so
/// that a crash or the end of their leases does not repeat the work of its neighbours.
#[derive(Default)]
pub(crate) struct UnsettledCalls(Mutex<Vec<Weak<dyn UnsettledCall>>>);

impl UnsettledCalls {
    pub(super) fn add(&self, call: Weak<dyn UnsettledCall>) {
        self.0.lock().push(call);
    }

    /// The calls that are still beginning runs.
    pub(super) fn calls(&self) -> Vec<Arc<dyn UnsettledCall>> {
        let mut calls = self.0.lock();
        calls.retain(|call| call.strong_count() > 0);
        calls.iter().filter_map(Weak::upgrade).collect()
    }
}

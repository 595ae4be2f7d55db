//! The handler's count of its runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How often the handler ran, and how often it failed. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Runs(Arc<[AtomicUsize; 2]>);

impl Runs {
    pub(crate) fn begin(&self) {
        self.0[0].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn fail(&self) {
        self.0[1].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn all(&self) -> usize {
        self.0[0].load(Ordering::Relaxed)
    }

    pub(crate) fn failed(&self) -> usize {
        self.0[1].load(Ordering::Relaxed)
    }
}

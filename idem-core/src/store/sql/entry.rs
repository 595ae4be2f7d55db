//! One entry of a batch.

/// One request of a batch, and the key that it is stored under.
#[derive(Debug, Clone)]
pub(in crate::store) struct BatchEntry<R> {
    pub(in crate::store) key: Vec<u8>,
    pub(in crate::store) request: R,
    /// Where its answer goes.
    pub(super) place: usize,
}

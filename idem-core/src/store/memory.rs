//! The in-process store.

/// Keeps records in this process.
#[derive(Debug)]
pub struct MemoryStore;

/// Settings of a [`MemoryStore`].
#[derive(Debug)]
pub struct MemoryStoreBuilder;

//! The Redis store.

/// Keeps records in Redis.
#[derive(Debug)]
pub struct RedisStore;

/// Settings of a [`RedisStore`].
#[derive(Debug)]
pub struct RedisStoreBuilder;

//! idem: an idempotent consumer framework for Apache RocketMQ.

#[allow(
    dead_code,
    unused_imports,
    reason = "parts of the client wait for the consumer that is built on them"
)]
mod client;
#[cfg(feature = "embedded")]
pub mod embedded;

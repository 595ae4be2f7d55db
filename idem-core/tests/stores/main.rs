//! Every store against the conformance suite, and what is each store's own.

mod cluster;
mod failures;
mod guards;
mod logs;
mod memory;
mod redis_harness;
mod sentinel;
mod server;
mod single;
mod tls;

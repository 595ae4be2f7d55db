//! The Redis store, on each kind of Redis.
//!
//! Run alone: `cargo test -p idem-core --features conformance,redis --test stores -- redis::`

mod cluster;
mod failures;
mod lost_callers;
mod sentinel;
mod single;
mod tls;

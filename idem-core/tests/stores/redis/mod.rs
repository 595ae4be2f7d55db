//! The Redis store, on each kind of Redis.

mod cluster;
mod failures;
mod lost_callers;
mod sentinel;
mod single;
mod tls;

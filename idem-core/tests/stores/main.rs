//! Every store against the conformance suite, and what is each store's own.
//!
//! A room is compiled with the features of its stores, so that the tests of one store need no other feature:
//! `cargo test -p idem-core --features conformance,redis --test stores`.

#![cfg_attr(
    not(all(feature = "redis", feature = "sqlite", feature = "postgres", feature = "mysql")),
    allow(dead_code, unused_imports, unused_macros, reason = "other stores' tests use it")
)]

#[cfg(all(feature = "redis", feature = "sqlite", feature = "postgres", feature = "mysql"))]
mod bounds;
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
mod databases;
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
mod guards;
mod memory;
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
mod outbox;
#[cfg(feature = "redis")]
mod redis;
mod support;
#[cfg(all(feature = "redis", feature = "sqlite", feature = "postgres", feature = "mysql"))]
mod tiered;
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
mod transactions;

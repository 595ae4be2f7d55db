//! Deliveries: filters, retries, copies, dead letters, and messages that cannot be handled.
//!
//! Run alone: `cargo test --workspace --all-features --test e2e -- delivery::`

mod copies;
mod dead_letters;
mod delays;
mod filters;
mod foreign;
mod input;
mod panics;
mod plain;
mod slow;
mod starve;

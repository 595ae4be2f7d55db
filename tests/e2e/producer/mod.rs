//! Producers: messages, transactions and the outbox.
//!
//! Run alone: `cargo test --workspace --all-features --test e2e -- producer::`

mod outbox;
mod outbox_storm;
pub(crate) mod sending;
mod two_brokers;

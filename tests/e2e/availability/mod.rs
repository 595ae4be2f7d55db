//! Consumers and producers go on after Redis, a broker or a name server was away.
//!
//! Run alone: `cargo test --workspace --all-features --test e2e -- availability::`

mod absence;
mod outage;

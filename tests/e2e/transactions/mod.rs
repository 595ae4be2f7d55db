//! Handlers whose effect and record commit together.
//!
//! Run alone: `cargo test --workspace --all-features --test e2e -- transactions::`

mod handlers;
mod together;
mod transfers;

//! Orderly consumption: no message overtakes the one before it.
//!
//! Run alone: `cargo test --workspace --all-features --test e2e -- order::`

mod mixed;
mod ordered;
mod orderly;

//! Members of a group start, stop, crash and are deployed.
//!
//! Run alone: `cargo test --workspace --all-features --test e2e -- members::`

mod bad_deploys;
mod beginnings;
mod broadcast;
mod crash;
mod deploys;
mod one_process;
mod workers;

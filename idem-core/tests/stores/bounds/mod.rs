//! The times and numbers that the stores' documentation promises.
//!
//! Run alone: `cargo test -p idem-core --all-features --test stores -- bounds::`

mod numbers;
mod silence;
mod times;

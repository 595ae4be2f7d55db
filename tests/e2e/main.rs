//! Whole consumers against real brokers and real stores.
//!
//! Tests begin in the order of their names: the longest one is in the first module, so that the others run beside it.

mod availability;
mod batches;
mod delivery;
mod members;
mod operations;
mod order;
mod producer;
mod soak;
mod start_up;
mod support;
mod transactions;
mod weaknesses;

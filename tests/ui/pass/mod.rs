//! Programs that must compile without a warning, under lints that many teams turn on.

#![deny(
    warnings,
    missing_debug_implementations,
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::pedantic,
    clippy::nursery,
    clippy::exhaustive_structs,
    clippy::unwrap_used
)]

mod attribute;
mod batches;
mod doubt;
mod expressions;
mod hygiene;
mod keys;
mod library;
mod message;
mod outbox;
mod renamed;
mod transactional;

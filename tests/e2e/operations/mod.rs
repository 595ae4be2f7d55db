//! Operation: logs, spans, settings, shutdown, and Apache's tools and clients.
//!
//! Run alone: `cargo test --workspace --all-features --test e2e -- operations::`

mod admin;
mod doubts;
mod extremes;
mod java_client;
mod lifecycle;
mod outcomes;
mod settings;
mod tracing_spans;

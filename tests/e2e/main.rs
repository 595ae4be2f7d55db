//! Whole consumers against real brokers and real stores.

mod access;
mod batches;
mod both;
mod broadcast;
mod crash;
mod filters;
mod input;
mod java;
mod kit;
mod lifecycle;
mod orderly;
mod outage;
mod outbox;
mod outbox_storm;
mod process;
mod producer;
mod servers;
mod settings;
mod slow;
mod startup;
mod tracing_spans;
mod transactional;
mod transactional_batches;
mod transfers;

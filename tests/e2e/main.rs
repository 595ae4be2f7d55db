//! Whole consumers against real brokers and real stores.
//!
//! Tests begin in the order of their names: the longest one is in the first module, so that the others run beside it.

mod absence;
mod access;
mod bad_deploys;
mod batches;
mod beginnings;
mod broadcast;
mod copies;
mod crash;
mod dead_letters;
mod extremes;
mod filters;
mod foreign;
mod input;
mod java;
mod kit;
mod lifecycle;
mod members;
mod orderly;
mod outbox;
mod outbox_storm;
mod outcomes;
mod panics;
mod place;
mod process;
mod producer;
mod reach;
mod servers;
mod settings;
mod slow;
mod startup;
mod starve;
mod tracing_spans;
mod transactional;
mod transactional_batches;
mod transfers;
mod two_brokers;
mod weaknesses;

//! Whole consumers against real brokers and real stores.

mod access;
mod batches;
mod crash;
mod filters;
mod input;
mod java;
mod kit;
mod lifecycle;
mod outage;
mod process;
mod producer;
mod servers;
mod settings;
mod slow;
mod startup;

//! Whole consumers against real brokers and real stores.

mod crash;
mod input;
mod java;
mod kit;
mod lifecycle;
mod outage;
mod process;
mod slow;
mod startup;

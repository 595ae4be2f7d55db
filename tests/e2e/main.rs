//! Whole consumers against real brokers and real stores.

mod crash;
mod input;
mod kit;
mod lifecycle;
mod outage;
mod process;
mod producer;
mod slow;
mod startup;

//! Brokers, servers, processes and handlers that the tests share.

pub(crate) mod database;
pub(crate) mod kit;
pub(crate) mod log;
pub(crate) mod place;
pub(crate) mod process;
pub(crate) mod servers;
pub(crate) mod shop;
pub(crate) mod soak;

//! The SQL stores keep the contract, each on its own database.
//!
//! Run alone: `cargo test -p idem-core --all-features --test stores -- databases::`

#[cfg(feature = "mysql")]
mod mysql;
#[cfg(feature = "postgres")]
mod postgres;
mod rules;
mod server_rules;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(all(feature = "mysql", feature = "postgres", feature = "sqlite"))]
mod strict;

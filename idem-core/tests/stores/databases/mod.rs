//! The SQL stores, each on its database.

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

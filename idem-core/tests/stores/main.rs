//! Every store against the conformance suite, and what is each store's own.

mod cluster;
mod crashes;
mod failures;
mod guards;
mod logs;
mod memory;
mod mysql;
mod mysql_harness;
mod outbox;
mod postgres;
mod postgres_harness;
mod proxy;
mod redis_harness;
mod sentinel;
mod server;
mod server_rules;
mod services;
mod silence;
mod single;
mod sql_harness;
mod sql_rules;
mod sqlite;
mod sqlite_harness;
mod tiered;
mod tls;
mod transactions;

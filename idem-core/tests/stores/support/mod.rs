//! Servers, harnesses and requests that the tests share.

#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
pub(crate) mod bank;
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
pub(crate) mod batches;
#[cfg(all(feature = "mysql", feature = "postgres"))]
pub(crate) mod line;
pub(crate) mod logs;
#[cfg(feature = "mysql")]
pub(crate) mod mysql;
#[cfg(feature = "postgres")]
pub(crate) mod postgres;
pub(crate) mod proxy;
pub(crate) mod records;
#[cfg(feature = "redis")]
pub(crate) mod redis;
pub(crate) mod redis_server;
pub(crate) mod services;
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
pub(crate) mod shop;
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
pub(crate) mod sql;
#[cfg(feature = "sqlite")]
pub(crate) mod sqlite;
pub(crate) mod watched;

/// Reads a variable that `scripts/services` sets.
pub(crate) fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!("{name} is not set: run the tests with scripts/test, or `scripts/services start DIR` and source DIR/env")
    })
}

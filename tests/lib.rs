//! Tests across the crates of idem. The library itself is a test too: one that exports handlers, under the
//! lints of careful libraries. [`count`] is a function, and a link to it is not ambiguous.

#![deny(
    warnings,
    missing_debug_implementations,
    missing_docs,
    unreachable_pub,
    unnameable_types,
    clippy::pedantic,
    clippy::exhaustive_structs
)]

#[cfg(test)]
mod heads;

use idem_rocketmq::extract::Delivery;
use idem_rocketmq::{handlers, idempotent};

/// Counts lines; see [`routes`].
#[idempotent(key_from = message_keys, topic = "lines")]
pub async fn count(line: String, delivery: &Delivery) {
    println!("{line} {delivery:?}");
}

/// The routes of the handlers.
#[must_use]
pub fn routes() -> Vec<idem_rocketmq::Route> {
    handlers![count, inner::private]
}

mod inner {
    use idem_rocketmq::idempotent;

    #[idempotent(key_from = message_keys, topic = "lines")]
    pub(super) async fn private(_: String) {}
}

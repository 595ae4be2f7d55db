//! The payload of the messages, and what Redis takes for them.

use std::time::Duration;

use anyhow::Context as _;
use idem_rocketmq::prelude::*;

/// The CPU time of the Redis server so far.
pub(crate) fn redis_cpu(url: &str) -> anyhow::Result<Duration> {
    let info: String =
        redis::cmd("INFO").arg("cpu").query(&mut redis::Client::open(url)?.get_connection()?)?;
    let seconds = |name: &str| {
        let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.and_then(|seconds| seconds.trim().parse::<f64>().ok()).context("Redis tells no CPU time")
    };
    Ok(Duration::from_secs_f64(seconds("used_cpu_user")? + seconds("used_cpu_sys")?))
}

/// An order, of about 100 bytes.
#[derive(Deserialize)]
pub(crate) struct OrderPayload {
    pub(crate) order_id: String,
    pub(crate) buyer_id: u64,
    pub(crate) amount_cents: i64,
}

impl OrderPayload {
    pub(crate) fn json(number: usize, buyer: usize) -> String {
        format!(
            r#"{{"order_id":"order-{number:012}","buyer_id":{buyer},"amount_cents":{},"note":"paid by card, thank you"}}"#,
            number % 1_000
        )
    }
}

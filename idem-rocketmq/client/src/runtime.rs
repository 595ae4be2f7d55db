use std::num::NonZeroUsize;
use std::thread::available_parallelism;
use std::time::Duration;

use rocketmq_runtime::{RuntimeConfig, RuntimeOwner};

/// Blocking threads beside the listener's, for what else the client does on them.
const SPARE_THREADS: u32 = 32;

/// The most threads that RocketMQ's runtime accepts.
const MOST_THREADS: u32 = 512;

pub(super) const MAX_LISTENER_THREADS: u32 = MOST_THREADS - SPARE_THREADS;

/// No clock of the client's runtime may end a listener call: idem has its own.
const NEVER: Duration = Duration::from_hours(10 * 365 * 24);

/// A runtime for RocketMQ's crates whose lane for listeners is `listener_threads` wide.
///
/// The client calls listeners on its lane `metadata_io`. As it comes, that lane is two threads a core wide and
/// gives up after 5 s in the queue or 30 s in the call, and the client then sends back messages that no listener
/// saw.
///
/// The error is the client's text.
pub fn own_runtime(name: &str, listener_threads: u32) -> Result<RuntimeOwner, String> {
    let cores = available_parallelism().map_or(2, NonZeroUsize::get).max(2);
    let mut config = RuntimeConfig::for_parallelism(name, cores);
    config.max_blocking_threads = (listener_threads + SPARE_THREADS).min(MOST_THREADS) as usize;
    let lane = &mut config.blocking_lane_policies.metadata_io;
    lane.max_concurrency = (listener_threads + SPARE_THREADS / 2) as usize;
    lane.max_queue_depth = 65_536;
    lane.queue_timeout = NEVER;
    lane.task_timeout = NEVER;
    lane.warn_after = NEVER;
    let plan = RuntimeOwner::plan(config).map_err(|error| error.to_string())?;
    plan.build().map_err(|error| error.to_string())
}

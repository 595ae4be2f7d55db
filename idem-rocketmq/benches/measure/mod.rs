//! Measurements of a process while it consumes.
#![allow(dead_code, reason = "each benchmark uses a part of it")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use tokio::sync::Notify;

/// The messages after which memory is measured, so that what stays in a store or a map counts for little.
const RESIDENT_AFTER: usize = 100_000;

/// Counts messages, and wakes up who waits at the end of the warm-up and at the last one.
#[derive(Clone)]
pub(crate) struct MessageCount(Arc<MessageTally>);

struct MessageTally {
    wanted: usize,
    messages: AtomicUsize,
    resident: AtomicUsize,
    warm: Notify,
    done: Notify,
}

impl MessageCount {
    pub(crate) fn to(wanted: usize) -> Self {
        let (messages, resident) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let (warm, done) = (Notify::new(), Notify::new());
        Self(Arc::new(MessageTally { wanted, messages, resident, warm, done }))
    }

    pub(crate) fn one(&self) {
        let now = self.0.messages.fetch_add(1, Ordering::Relaxed) + 1;
        if now == self.0.wanted / 10 {
            self.0.warm.notify_one();
        }
        if now == RESIDENT_AFTER.min(self.0.wanted) {
            self.0.resident.store(resident_kib(), Ordering::Relaxed);
        }
        if now == self.0.wanted {
            self.0.done.notify_one();
        }
    }

    pub(crate) async fn measured(&self) -> Cost {
        self.0.warm.notified().await;
        let (begun, cpu_begun) = (Instant::now(), cpu());
        // The notice may come some messages late.
        let before = self.0.messages.load(Ordering::Relaxed);
        self.0.done.notified().await;
        let (took, cpu) = (begun.elapsed(), cpu().saturating_sub(cpu_begun));
        Cost::of(self.0.wanted - before, took, cpu, self.0.resident.load(Ordering::Relaxed))
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) per_second: f64,
    pub(crate) cpu_micros: f64,
    /// The CPU time of the store's server for a message, where that is measured.
    pub(crate) server_micros: f64,
    /// The most that was resident until so many messages were handled.
    pub(crate) resident_mib: f64,
}

impl Cost {
    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
    fn of(messages: usize, took: Duration, cpu: Duration, resident_kib: usize) -> Self {
        let messages = messages as f64;
        Self {
            per_second: messages / took.as_secs_f64(),
            cpu_micros: cpu.as_secs_f64() * 1e6 / messages,
            server_micros: f64::NAN,
            resident_mib: resident_kib as f64 / 1024.0,
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
    pub(crate) fn with_server(self, cpu: Duration, messages: usize) -> Self {
        Self { server_micros: cpu.as_secs_f64() * 1e6 / messages as f64, ..self }
    }

    pub(crate) fn print(self) {
        println!("cost {} {} {}", self.per_second, self.cpu_micros, self.resident_mib);
    }

    pub(crate) fn parse(line: &str) -> Option<Self> {
        let mut parts = line.strip_prefix("cost ")?.split(' ').map(str::parse);
        let mut next = || parts.next()?.ok();
        let (per_second, cpu_micros, resident_mib) = (next()?, next()?, next()?);
        Some(Self { per_second, cpu_micros, server_micros: f64::NAN, resident_mib })
    }

    pub(crate) fn median(costs: &[Self]) -> Self {
        let middle = |of: fn(&Self) -> f64| {
            let mut values: Vec<_> = costs.iter().map(of).collect();
            values.sort_by(f64::total_cmp);
            values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
        };
        Self {
            per_second: middle(|cost| cost.per_second),
            cpu_micros: middle(|cost| cost.cpu_micros),
            server_micros: middle(|cost| cost.server_micros),
            resident_mib: middle(|cost| cost.resident_mib),
        }
    }
}

/// The most that was resident so far.
fn resident_kib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}

/// The CPU time of the whole process.
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap_or_default(), time.tv_nsec.try_into().unwrap_or_default())
}

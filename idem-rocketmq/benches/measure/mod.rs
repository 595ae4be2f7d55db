//! Measurements of a process while it consumes.
#![allow(dead_code, reason = "each benchmark uses a part of it")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use tokio::sync::Notify;

/// Counts messages, and wakes up who waits at the end of the warm-up and at the last one.
#[derive(Clone)]
pub(crate) struct MessageCount(Arc<MessageTally>);

struct MessageTally {
    wanted: usize,
    messages: AtomicUsize,
    warm: Notify,
    done: Notify,
}

impl MessageCount {
    pub(crate) fn to(wanted: usize) -> Self {
        let (messages, warm, done) = (AtomicUsize::new(0), Notify::new(), Notify::new());
        Self(Arc::new(MessageTally { wanted, messages, warm, done }))
    }

    pub(crate) fn one(&self) {
        let now = self.0.messages.fetch_add(1, Ordering::Relaxed) + 1;
        if now == self.0.wanted / 10 {
            self.0.warm.notify_one();
        } else if now == self.0.wanted {
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
        Cost::of(self.0.wanted - before, took, cpu)
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) per_second: f64,
    pub(crate) cpu_micros: f64,
    pub(crate) resident_mib: f64,
}

impl Cost {
    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
    fn of(messages: usize, took: Duration, cpu: Duration) -> Self {
        let messages = messages as f64;
        Self {
            per_second: messages / took.as_secs_f64(),
            cpu_micros: cpu.as_secs_f64() * 1e6 / messages,
            resident_mib: resident_mib(),
        }
    }

    pub(crate) fn print(self) {
        println!("cost {} {} {}", self.per_second, self.cpu_micros, self.resident_mib);
    }

    pub(crate) fn parse(line: &str) -> Option<Self> {
        let mut parts = line.strip_prefix("cost ")?.split(' ').map(str::parse);
        let mut next = || parts.next()?.ok();
        Some(Self { per_second: next()?, cpu_micros: next()?, resident_mib: next()? })
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
            resident_mib: middle(|cost| cost.resident_mib),
        }
    }
}

/// The most that was resident while messages were waiting.
fn resident_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kib.unwrap_or(f64::NAN) / 1024.0
}

/// The CPU time of the whole process.
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap_or_default(), time.tv_nsec.try_into().unwrap_or_default())
}

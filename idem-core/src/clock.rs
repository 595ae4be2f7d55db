//! The clock of leases and deadlines.

use std::time::Duration;

/// A monotonic clock for local deadlines.
///
/// The default goes on while the machine sleeps (`CLOCK_BOOTTIME` on Linux): after a suspend a lease that ran
/// out meanwhile must be seen as run out.
#[derive(Debug, Clone, Copy, Default)]
pub struct Clock(Source);

#[derive(Debug, Clone, Copy, Default)]
enum Source {
    #[default]
    Boot,
    Tokio,
}

impl Clock {
    /// The clock that goes on while the machine sleeps.
    pub fn boot() -> Self {
        Self(Source::Boot)
    }

    /// tokio's clock, which a test can pause. It stands still while the machine sleeps.
    pub fn tokio() -> Self {
        Self(Source::Tokio)
    }

    /// The time since some fixed moment in the past.
    pub fn now(self) -> Duration {
        match self.0 {
            Source::Boot => boot_time(),
            Source::Tokio => {
                static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
                let now = tokio::time::Instant::now().into_std();
                // A day ahead, so that a subtraction in a fresh process does not reach below zero.
                (now + Duration::from_hours(24)).saturating_duration_since(*START.get_or_init(|| now))
            }
        }
    }
}

#[cfg(target_os = "linux")]
fn boot_time() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::new(now.tv_sec.try_into().unwrap_or_default(), now.tv_nsec.try_into().unwrap_or_default())
}

#[cfg(not(target_os = "linux"))]
fn boot_time() -> Duration {
    static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    START.get_or_init(std::time::Instant::now).elapsed()
}

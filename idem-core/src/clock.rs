//! The clock of leases and deadlines, and sums of times that cannot overflow.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant, SystemTime};

/// A hundred years: as long as idem reckons with. A longer time is taken for this one, so that `Duration::MAX` means "for
/// ever" wherever that makes sense, and no store's unit overflows (µs in an `i64`, in a double of a script, ms of an expiry).
pub const LONGEST: Duration = Duration::from_hours(24 * 36_500);

/// Sums of a moment and a time.
///
/// `+` on moments and on durations panics when it overflows; idem never uses it (see `clippy::arithmetic_side_effects` in
/// `lib.rs`).
pub trait Later: Copy {
    /// So much later, by a hundred years at most.
    #[must_use]
    fn later(self, time: Duration) -> Self;
}

macro_rules! later {
    ($($moment:ty)*) => {$(
        impl Later for $moment {
            fn later(self, time: Duration) -> Self {
                self.checked_add(time.min(LONGEST)).unwrap_or(self)
            }
        }
    )*};
}

later! { Instant SystemTime tokio::time::Instant }

/// The time since some fixed moment, as [`Clock::now`] has it.
impl Later for Duration {
    fn later(self, time: Duration) -> Self {
        self.saturating_add(time.min(LONGEST))
    }
}

/// A setting whose time is none that could work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutOfBounds {
    what: &'static str,
    time: Duration,
    shortest: Duration,
    longest: Duration,
}

impl fmt::Display for OutOfBounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, time, shortest, longest } = self;
        if time < shortest {
            return write!(f, "`{what}` is {time:?}: give it at least {shortest:?}");
        }
        match *longest {
            LONGEST => write!(f, "`{what}` is longer than a hundred years: make it shorter"),
            longest => write!(f, "`{what}` is longer than {longest:?}: make it shorter"),
        }
    }
}

impl std::error::Error for OutOfBounds {}

/// Checks that a setting's time is within `bounds`.
///
/// # Errors
/// It is shorter or longer; the error names the setting.
pub fn within(
    what: &'static str,
    time: Duration,
    bounds: RangeInclusive<Duration>,
) -> Result<(), OutOfBounds> {
    if bounds.contains(&time) {
        return Ok(());
    }
    let (shortest, longest) = bounds.into_inner();
    Err(OutOfBounds { what, time, shortest, longest })
}

/// The range of a wait for a server: a shorter one is over before any server has answered, and is none at all in the
/// servers' own unit; after a longer one nobody waits any more.
pub const OF_A_SERVER: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_hours(24);

/// The range of the time between two looks: without a pause one look would follow the other all the time.
pub const OF_A_PAUSE: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::MAX;

/// A monotonic clock for local deadlines.
///
/// The default goes on while the machine sleeps (`CLOCK_BOOTTIME` on Linux): after a suspend a lease that ran
/// out meanwhile must be seen as run out.
#[derive(Debug, Clone, Copy, Default)]
pub struct Clock(ClockSource);

#[derive(Debug, Clone, Copy, Default)]
enum ClockSource {
    #[default]
    Boot,
    Tokio,
}

impl Clock {
    /// The clock that goes on while the machine sleeps.
    pub fn boot() -> Self {
        Self(ClockSource::Boot)
    }

    /// tokio's clock, which a test can pause. It stands still while the machine sleeps.
    pub fn tokio() -> Self {
        Self(ClockSource::Tokio)
    }

    /// The time since some fixed moment in the past.
    pub fn now(self) -> Duration {
        match self.0 {
            ClockSource::Boot => boot_time(),
            ClockSource::Tokio => {
                static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
                let now = tokio::time::Instant::now().into_std();
                // A day ahead, so that a subtraction in a fresh process does not reach below zero.
                now.later(Duration::from_hours(24)).saturating_duration_since(*START.get_or_init(|| now))
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
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}

/// Times that a user may set, for tests that go over every place where one can be set: each is refused there with an error
/// that names the setting, or works.
#[doc(hidden)]
pub fn extremes() -> impl Iterator<Item = Duration> + Clone {
    let micros = |bits: u32| Duration::from_micros(1 << bits);
    [
        Duration::ZERO,
        Duration::from_nanos(1),
        Duration::from_micros(999),
        Duration::from_secs(1),
        Duration::from_hours(24),
        // The ends of an `i32` in ms, of a double's and of an `i64`'s whole numbers in µs.
        Duration::from_millis(1 << 31),
        LONGEST,
        LONGEST.saturating_add(Duration::from_nanos(1)),
        micros(53),
        micros(63),
        Duration::from_millis(u64::MAX),
        Duration::MAX,
    ]
    .into_iter()
}

/// As [`extremes`], for moments.
#[doc(hidden)]
pub fn extreme_moments() -> impl Iterator<Item = SystemTime> {
    let (epoch, now) = (SystemTime::UNIX_EPOCH, SystemTime::now());
    let around = |moment: SystemTime| {
        extremes().flat_map(move |time| [moment.checked_sub(time), moment.checked_add(time)]).flatten()
    };
    around(epoch).chain(around(now))
}

//! How a message waits: by a timer message where the broker has a timer, else by one of its delay levels.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::versions::Versions;

/// How the delay of a message or of a retry is asked from the broker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DelayBy {
    /// The timer of 5.x brokers, to the second, up to three days. Where a broker has it switched off
    /// (`timerWheelEnable=false`), the delay levels.
    #[default]
    Timer,
    /// The smallest sufficient one of RocketMQ's delay levels, `1s 5s 10s 30s 1m ..`, also where there is a timer.
    Level,
}

/// A broker's delay levels (`messageDelayLevel`), counted from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Levels(Vec<Duration>);

/// The levels of a broker that is not configured otherwise.
const USUAL: &str = "1s 5s 10s 30s 1m 2m 3m 4m 5m 6m 7m 8m 9m 10m 20m 30m 1h 2h";

impl Default for Levels {
    fn default() -> Self {
        Self(parse(USUAL).unwrap_or_default())
    }
}

impl Levels {
    /// In the form of the broker's setting, `1s 5s 1m 2h`.
    pub fn parse(text: &str) -> Option<Self> {
        parse(text).filter(|levels| !levels.is_empty()).map(Self)
    }

    /// The longest wait that they give.
    pub fn longest(&self) -> Duration {
        self.0.iter().max().copied().unwrap_or_default()
    }

    /// The shortest level that waits at least this long; 0 for no delay, the longest one where none is sufficient.
    pub(super) fn level(&self, delay: Duration) -> i32 {
        if delay.is_zero() {
            return 0;
        }
        let levels = || self.0.iter().zip(1..);
        let sufficient = levels().filter(|(level, _)| **level >= delay).min_by_key(|(level, _)| **level);
        let longest = || levels().max_by_key(|(level, _)| **level);
        sufficient.or_else(longest).map_or(1, |(_, number)| number)
    }
}

fn parse(text: &str) -> Option<Vec<Duration>> {
    text.split_whitespace().map(duration).collect()
}

fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(seconds).map(Duration::from_secs)
}

/// The code of a broker whose timer is switched off, or has no room at that second (`SYSTEM_ERROR`).
const NO_TIMER: i32 = 1;

/// The code of a broker whose timer takes no delay as long as this (`MESSAGE_ILLEGAL`).
pub(super) const TOO_LONG: i32 = 13;

/// Then the timer is tried once more: the broker may have been full, or restarted with other settings.
const AGAIN: Duration = Duration::from_mins(10);

/// Whether the brokers have a timer. That is found out by using it: to read a broker's settings takes rights that
/// a consumer seldom has.
#[derive(Debug, Default)]
pub(super) struct Timer {
    refused: Mutex<Option<Instant>>,
    versions: Arc<Versions>,
}

impl Timer {
    pub(super) fn new(versions: Arc<Versions>) -> Self {
        Self { refused: Mutex::default(), versions }
    }

    /// How to ask for the next delay.
    pub(super) fn choose(&self, wanted: DelayBy) -> DelayBy {
        match *self.refused.lock() {
            Some(since) if since.elapsed() < AGAIN => DelayBy::Level,
            _ if !self.versions.have_timers() => DelayBy::Level,
            _ => wanted,
        }
    }

    /// A message that went by timer came at once.
    pub(super) fn was_ignored(&self, group: &str) {
        self.refused(group, Some(NO_TIMER));
    }

    /// Whether a message that a broker refused with this code may be taken with a delay level.
    pub(super) fn is_refusal(code: Option<i32>) -> bool {
        matches!(code, Some(NO_TIMER | TOO_LONG))
    }

    /// A broker refused a message with this code and took it with a level.
    pub(super) fn refused(&self, group: &str, code: Option<i32>) {
        if code != Some(NO_TIMER) {
            return;
        }
        let before = self.refused.lock().replace(Instant::now());
        if before.is_none() {
            tracing::info!(
                group,
                "the broker takes no timer messages: delays are kept by its delay levels; where those are not the usual \
                 ones, tell them with `.delay_levels(..)`"
            );
        }
    }
}

/// How a producer asks for delays.
pub(super) struct Delays {
    group: String,
    by: DelayBy,
    pub(super) levels: Levels,
    timer: Timer,
    versions: Arc<Versions>,
}

impl Delays {
    pub(super) fn new(group: &str, by: DelayBy, levels: Levels, versions: Arc<Versions>) -> Self {
        Self { group: group.to_owned(), by, levels, timer: Timer::new(versions.clone()), versions }
    }

    /// Whether each broker that may get a message has a timer.
    pub(super) fn have_timers(&self) -> bool {
        self.versions.have_timers()
    }

    /// How to ask for the next one. By level only what a level is sufficient for: nothing comes before its time.
    pub(super) fn choose(&self, delay: Duration) -> DelayBy {
        if delay > self.levels.longest() { self.by } else { self.timer.choose(self.by) }
    }

    /// A broker refused a message by timer with this code and took it by level.
    pub(super) fn refused(&self, code: Option<i32>) {
        self.timer.refused(&self.group, code);
    }
}

#[cfg(test)]
mod tests {
    use rocketmq_model::common::mq_version::RocketMqVersion;

    use super::*;

    #[test]
    fn the_smallest_sufficient_level_is_taken() {
        let level = |milliseconds| Levels::default().level(Duration::from_millis(milliseconds));
        assert_eq!(level(0), 0);
        assert_eq!(level(1), 1);
        assert_eq!(level(1000), 1);
        assert_eq!(level(1001), 2);
        assert_eq!(level(10_000), 3);
        assert_eq!(level(30_000), 4);
        assert_eq!(level(7_200_000), 18);
        assert_eq!(level(100_000_000), 18);
    }

    #[test]
    fn levels_are_those_of_the_broker_in_any_order() {
        let levels = Levels::parse("10s 1s  1s 2m 1d").unwrap();
        let level = |seconds| levels.level(Duration::from_secs(seconds));
        assert_eq!([level(1), level(2), level(11), level(121), level(1_000_000)], [2, 1, 4, 5, 5]);
    }

    #[test]
    fn what_no_broker_would_take_are_no_levels() {
        for text in ["", " ", "1", "s", "1x", "1s,5s", "-1s", "1秒", "99999999999999999999s"] {
            assert_eq!(Levels::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_refusal_is_remembered_only_where_the_timer_itself_is_missing() {
        let timer = Timer::default();
        assert_eq!(timer.choose(DelayBy::Timer), DelayBy::Timer);
        timer.refused("g", Some(TOO_LONG));
        assert_eq!(timer.choose(DelayBy::Timer), DelayBy::Timer);
        timer.refused("g", Some(NO_TIMER));
        assert_eq!(timer.choose(DelayBy::Timer), DelayBy::Level);
        assert!(!Timer::is_refusal(None) && Timer::is_refusal(Some(NO_TIMER)));
    }

    #[test]
    fn beside_a_broker_that_is_known_to_have_no_timer_delays_are_kept_by_levels() {
        const HEART_BEAT: i32 = 34;
        let versions = Arc::<Versions>::default();
        let timer = Timer::new(versions.clone());
        assert_eq!(timer.choose(DelayBy::Timer), DelayBy::Timer);
        let (broker, version) = (([127, 0, 0, 1], 1).into(), RocketMqVersion::V4_9_7 as i32);
        versions.note(HEART_BEAT, broker, version);
        assert_eq!(timer.choose(DelayBy::Timer), DelayBy::Level);
        let delays = Delays::new("g", DelayBy::Timer, Levels::default(), versions);
        assert_eq!(delays.choose(Duration::from_secs(1)), DelayBy::Level);
        assert!(!delays.have_timers());
    }
}

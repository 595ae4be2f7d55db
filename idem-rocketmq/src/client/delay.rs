//! RocketMQ's delay levels, as brokers have them unless `messageDelayLevel` is set.

use std::time::Duration;

const LEVELS: [u64; 18] =
    [1, 5, 10, 30, 60, 120, 180, 240, 300, 360, 420, 480, 540, 600, 1200, 1800, 3600, 7200];

/// The wait of the last level.
pub(crate) const LONGEST: Duration = Duration::from_hours(2);

/// The smallest level that waits at least this long; 0 for no delay, the last one beyond two hours.
pub(super) fn level(delay: Duration) -> i32 {
    if delay.is_zero() {
        return 0;
    }
    let sufficient = LEVELS.iter().take_while(|seconds| Duration::from_secs(**seconds) < delay).count();
    i32::try_from(sufficient.min(LEVELS.len() - 1) + 1).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_sufficient_level_is_taken() {
        let level = |milliseconds| level(Duration::from_millis(milliseconds));
        assert_eq!(level(0), 0);
        assert_eq!(level(1), 1);
        assert_eq!(level(1000), 1);
        assert_eq!(level(1001), 2);
        assert_eq!(level(10_000), 3);
        assert_eq!(level(30_000), 4);
        assert_eq!(level(7_200_000), 18);
        assert_eq!(level(100_000_000), 18);
    }
}

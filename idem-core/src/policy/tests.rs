//! Times and numbers, and which of them disagree.

use super::*;

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[test]
fn levels_start_at_ten_seconds_and_stay_at_the_last() {
    let levels = Backoff::levels();
    assert_eq!(levels.after(1), secs(10));
    assert_eq!(levels.after(2), secs(30));
    assert_eq!(levels.after(16), secs(7_200));
    assert_eq!(levels.after(400), secs(7_200));
}

#[test]
fn exponential_doubles_up_to_its_bound_without_overflow() {
    let backoff = Backoff::exponential(secs(1), secs(60));
    assert_eq!(backoff.after(3), secs(4));
    assert_eq!(backoff.after(40), secs(60));
    assert_eq!(Backoff::steps([]).after(7), Duration::ZERO);
}

#[test]
fn a_backoff_that_begins_with_a_nanosecond_reaches_its_bound_too() {
    let backoff = Backoff::exponential(Duration::from_nanos(1), secs(60));
    assert_eq!(backoff.after(32), Duration::from_nanos(1 << 31));
    assert_eq!(backoff.after(33), Duration::from_nanos(1 << 32));
    assert_eq!(backoff.after(36), Duration::from_nanos(1 << 35));
    assert_eq!((backoff.after(37), backoff.after(u32::MAX)), (secs(60), secs(60)));
    assert_eq!(Backoff::exponential(Duration::from_nanos(1), Duration::MAX).after(95), Duration::MAX);
    assert_eq!(Backoff::exponential(Duration::ZERO, secs(60)).after(u32::MAX), Duration::ZERO);
    assert_eq!(Backoff::exponential(secs(60), secs(1)).after(1), secs(1));
}

#[test]
fn durations_that_disagree_are_named() {
    let settings = Settings { lease: Some(secs(100)), retention: Some(secs(10)), ..Settings::new() };
    assert_eq!(
        settings.resolve(),
        Err(PolicyError::LeaseOverRetention { lease: secs(100), retention: secs(10) })
    );
    let settings = Settings { lease: Some(secs(1)), retention: Some(secs(60)), ..Settings::new() };
    assert!(settings.resolve().unwrap_err().to_string().contains("timeout"));
}

#[test]
fn what_a_handler_leaves_out_comes_from_the_defaults() {
    let handler = Settings { timeout: Some(secs(5)), ..Settings::new() };
    let consumer = Settings { timeout: Some(secs(9)), max_attempts: Some(3), ..Settings::new() };
    let policy = handler.or(&consumer).resolve().unwrap();
    assert_eq!((policy.timeout, policy.max_attempts, policy.lease), (secs(5), 3, secs(30)));
}

#[test]
fn each_setting_has_its_method() {
    let settings = Settings::new()
        .lease(secs(10))
        .timeout(secs(20))
        .retention(secs(9_000))
        .max_attempts(UNLIMITED)
        .backoff(Backoff::fixed(secs(3)))
        .concurrency(7)
        .in_progress(InProgress::Wait(secs(2)))
        .store_failure(StoreFailure::Open)
        .undecodable(Undecodable::Retry)
        .missing_key(MissingKey::RunWithoutDedup)
        .fingerprint(FingerprintMismatch::Run);
    let Settings { lease, timeout, retention, max_attempts, backoff, concurrency, .. } = settings.clone();
    assert_eq!((lease, timeout, retention), (Some(secs(10)), Some(secs(20)), Some(secs(9_000))));
    assert_eq!((max_attempts, backoff), (Some(UNLIMITED), Some(Backoff::fixed(secs(3)))));
    assert_eq!((concurrency, settings.in_progress), (Some(7), Some(InProgress::Wait(secs(2)))));
    assert_eq!(settings.store_failure, Some(StoreFailure::Open));
    assert_eq!(settings.undecodable, Some(Undecodable::Retry));
    assert_eq!(settings.missing_key, Some(MissingKey::RunWithoutDedup));
    assert_eq!(settings.fingerprint, Some(FingerprintMismatch::Run));
}

//! What the tests share.

use std::future::Future;
use std::time::Duration;

/// Waits until `seen` says so, or fails after `deadline` with `what` was waited for.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, deadline: Duration, seen: impl Fn() -> F) {
    let waiting = async {
        while !seen().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(tokio::time::timeout(deadline, waiting).await.is_ok(), "not within {deadline:?}: {what}");
}

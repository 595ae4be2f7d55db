//! A handler's view of the lease that it runs under.

use std::fmt;
use std::sync::Arc;

use tokio::sync::watch;

use crate::record::{Fence, Token};

/// The lease that a run of a handler holds on its key. Cloning is cheap.
///
/// A handler needs it only to pass the token or the fence number on to a resource that can refuse a writer
/// which was overtaken, or to stop work of its own that outlives a cancellation, such as a spawned task.
/// The handler itself is cancelled when its lease is lost.
#[derive(Clone)]
pub struct Lease(Arc<Inner>);

struct Inner {
    token: Token,
    fence: Option<Fence>,
    lost: watch::Sender<bool>,
}

impl Lease {
    /// A lease under this token, held until [`mark_lost`](Self::mark_lost).
    #[allow(dead_code, reason = "the engine makes one for each run")]
    pub(crate) fn new(token: Token, fence: Fence) -> Self {
        Self::with(token, Some(fence))
    }

    /// A lease that nobody else can take, for a run without dedup and for unit tests. It is never lost and has
    /// no fence number.
    pub fn detached() -> Self {
        Self::with(Token::random(), None)
    }

    fn with(token: Token, fence: Option<Fence>) -> Self {
        Self(Arc::new(Inner { token, fence, lost: watch::Sender::new(false) }))
    }

    /// The token of the claim.
    pub fn token(&self) -> Token {
        self.0.token
    }

    /// The claim's fence number; none for a run without dedup.
    pub fn fence(&self) -> Option<Fence> {
        self.0.fence
    }

    /// Whether the lease is known to be lost: another run of this key may be under way.
    pub fn is_lost(&self) -> bool {
        *self.0.lost.borrow()
    }

    /// Waits until the lease is lost. Never returns while it is held.
    ///
    /// # Cancel safety
    /// Dropping the future has no effect.
    pub async fn lost(&self) {
        let mut lost = self.0.lost.subscribe();
        // The sender lives in `self`, so that waiting cannot fail.
        let _ = lost.wait_for(|lost| *lost).await;
    }

    /// Says that the lease is lost; wakes whoever waits for it.
    #[allow(dead_code, reason = "the engine says it when a renewal is refused")]
    pub(crate) fn mark_lost(&self) {
        self.0.lost.send_replace(true);
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("fence", &self.fence()).field("lost", &self.is_lost()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_lost_lease_wakes_whoever_waits() {
        let lease = Lease::new(Token::random(), Fence(7));
        let waiting = tokio::spawn({
            let lease = lease.clone();
            async move { lease.lost().await }
        });
        tokio::time::sleep(Duration::from_mins(1)).await;
        assert!(!lease.is_lost() && !waiting.is_finished());
        lease.mark_lost();
        waiting.await.unwrap();
        lease.lost().await;
        assert!(lease.is_lost());
    }

    #[test]
    fn a_detached_lease_has_a_token_and_no_fence() {
        let lease = Lease::detached();
        assert_eq!(lease.fence(), None);
        assert_eq!(lease.token(), lease.clone().token());
        assert_ne!(lease.token(), Lease::detached().token());
    }
}

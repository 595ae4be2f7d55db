//! Sends messages again that the broker may not have.

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::sleep;

use super::{Outbox, OutboxMessage};
use crate::record::Token;
use crate::store::StoreError;

/// A sweeper that has died is replaced after this time, or three sweeps, whichever is longer.
const SHORTEST_LEASE: Duration = Duration::from_secs(10);

/// Sends messages again.
pub trait Resend: Send + Sync + 'static {
    /// Sends the message under its idempotency key, and waits until a broker has confirmed it.
    fn resend(&self, message: OutboxMessage) -> BoxFuture<'_, Result<(), NotSent>>;
}

/// Why a message was not sent again.
#[derive(Debug)]
pub enum NotSent {
    /// Nobody can be sent to just now: the others need not be tried.
    Unreachable,
    /// This message could not be sent; others may be.
    Refused,
}

/// Sweeps an outbox: sends again what the broker has not confirmed in time, and deletes what is over. Of all members that
/// sweep, one at a time works.
pub struct Sweeper {
    outbox: Arc<dyn Outbox>,
    to: Weak<dyn Resend>,
    holder: [u8; 16],
}

/// The result of a turn.
enum SweepOutcome {
    Done,
    AnotherSweeps,
    Over,
}

impl Sweeper {
    /// One that sends by `to`, until that is gone.
    pub fn new(outbox: Arc<dyn Outbox>, to: Weak<dyn Resend>) -> Self {
        Self { outbox, to, holder: Token::random().to_bytes() }
    }

    /// Sweeps until the sender is gone. Errors are logged, and another turn follows.
    pub async fn run(self) {
        loop {
            match self.turn().await {
                Ok(SweepOutcome::Done | SweepOutcome::AnotherSweeps) => {}
                Ok(SweepOutcome::Over) => return,
                Err(error) => tracing::warn!(
                    outbox = self.outbox.name(),
                    %error,
                    "the outbox could not be swept; it is tried again"
                ),
            }
            sleep(self.outbox.sweep_every()).await;
        }
    }

    async fn turn(&self) -> Result<SweepOutcome, StoreError> {
        loop {
            let lease = self.outbox.sweep_every().saturating_mul(3).max(SHORTEST_LEASE);
            if !self.outbox.lead(self.holder, lease).await? {
                return Ok(SweepOutcome::AnotherSweeps);
            }
            let due = self.outbox.due().await?;
            if due.is_empty() {
                break;
            }
            let Some(to) = self.to.upgrade() else { return Ok(SweepOutcome::Over) };
            for message in due {
                if !self.resend(&*to, message).await? {
                    return Ok(SweepOutcome::Done);
                }
            }
        }
        while self.outbox.purge().await? > 0 {
            if self.to.strong_count() == 0 {
                return Ok(SweepOutcome::Over);
            }
        }
        Ok(if self.to.strong_count() == 0 { SweepOutcome::Over } else { SweepOutcome::Done })
    }

    /// Whether others should be tried, too.
    async fn resend(&self, to: &dyn Resend, message: OutboxMessage) -> Result<bool, StoreError> {
        let (id, topic) = (message.id, message.topic.clone());
        let (outcome, goes_on) = match to.resend(message).await {
            Ok(()) => {
                self.outbox.sent(&[id]).await?;
                ("sent", true)
            }
            Err(NotSent::Refused) => {
                self.outbox.postpone(id).await?;
                ("refused", true)
            }
            Err(NotSent::Unreachable) => {
                // The others get their turn, too: it may be this one's broker alone that is away.
                self.outbox.postpone(id).await?;
                ("unreachable", false)
            }
        };
        metrics::counter!("idem_outbox_resent_total", "topic" => topic.clone(), "outcome" => outcome)
            .increment(1);
        tracing::info!(
            outbox = self.outbox.name(),
            topic,
            transaction = %id,
            outcome,
            "a committed message, which its broker had not confirmed, was to be sent again"
        );
        Ok(goes_on)
    }
}

impl fmt::Debug for Sweeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sweeper").field("outbox", &self.outbox.name()).finish_non_exhaustive()
    }
}

//! How far the consumer is, read from its metrics.

use std::error::Error;
use std::time::{Duration, Instant};

use metrics_util::MetricKind;
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};

use crate::orders::Keys;

/// The example must not hang where something is wrong.
const LONGEST: Duration = Duration::from_secs(60);

/// Looks at `idem_messages_total`.
pub(crate) struct Progress(Snapshotter);

impl Progress {
    /// Records all metrics of this process from now on.
    pub(crate) fn install() -> Result<Self, Box<dyn Error>> {
        let recorder = DebuggingRecorder::new();
        let progress = Self(recorder.snapshotter());
        recorder.install()?;
        Ok(progress)
    }

    /// Messages whose outcome is one of these.
    fn count(&self, wanted: impl Fn(&str) -> bool) -> u64 {
        let metrics = self.0.snapshot().into_vec();
        let messages = metrics.iter().filter_map(|(key, _, _, value)| {
            let is_ours = key.kind() == MetricKind::Counter && key.key().name() == "idem_messages_total";
            let outcome = key.key().labels().find(|label| label.key() == "outcome")?;
            match value {
                DebugValue::Counter(count) if is_ours && wanted(outcome.value()) => Some(*count),
                _ => None,
            }
        });
        messages.sum()
    }

    pub(crate) fn deliveries(&self) -> u64 {
        self.count(|_| true)
    }

    pub(crate) fn duplicates(&self) -> u64 {
        self.count(|outcome| outcome == "duplicate")
    }

    pub(crate) fn retries(&self) -> u64 {
        self.count(|outcome| ["failed", "in_progress"].contains(&outcome))
    }

    /// Waits until every message is settled, those that were retried included, and the plain listener has seen as
    /// many.
    pub(crate) async fn wait_for(
        &self,
        keys: &Keys,
        sent: usize,
        plain: impl Fn() -> usize,
    ) -> Result<(), Box<dyn Error>> {
        let begun = Instant::now();
        let mut last = (0, 0);
        loop {
            let completed = self.count(|outcome| outcome == "completed");
            let settled = completed + self.duplicates() + self.count(|outcome| outcome == "undecodable");
            if (plain(), settled) != last {
                last = (plain(), settled);
                let seconds = begun.elapsed().as_secs_f32();
                println!(
                    "  {seconds:4.1} s: plain has run {} times, idem has settled {settled} of {sent}",
                    plain()
                );
            }
            if completed == keys.to_complete && settled >= sent as u64 && plain() >= sent {
                return Ok(());
            }
            if begun.elapsed() > LONGEST {
                return Err(format!("not done after {LONGEST:?}: {settled} of {sent} are settled").into());
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }
}

//! How far the consumer is, read from its metrics.

use std::cell::RefCell;
use std::collections::HashMap;
use std::error::Error;
use std::time::{Duration, Instant};

use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};

/// The example must not hang where something is wrong.
const LONGEST: Duration = Duration::from_mins(1);

/// Adds up `idem_messages_total` by outcome.
pub(crate) struct Progress {
    snapshots: Snapshotter,
    outcomes: RefCell<HashMap<String, u64>>,
}

impl Progress {
    /// Records all metrics of this process from now on.
    pub(crate) fn install() -> Result<Self, Box<dyn Error>> {
        let recorder = DebuggingRecorder::new();
        let snapshots = recorder.snapshotter();
        recorder.install()?;
        Ok(Self { snapshots, outcomes: RefCell::default() })
    }

    /// Messages whose outcome is one of these.
    fn count(&self, wanted: impl Fn(&str) -> bool) -> u64 {
        self.look();
        let outcomes = self.outcomes.borrow();
        outcomes.iter().filter(|(outcome, _)| wanted(outcome)).map(|(_, count)| count).sum()
    }

    /// A snapshot tells what came since the last one.
    fn look(&self) {
        let mut outcomes = self.outcomes.borrow_mut();
        for (key, _, _, value) in self.snapshots.snapshot().into_vec() {
            let outcome = key.key().labels().find(|label| label.key() == "outcome");
            if let (Some(outcome), DebugValue::Counter(count)) = (outcome, value)
                && key.key().name() == "idem_messages_total"
            {
                *outcomes.entry(outcome.value().to_owned()).or_default() += count;
            }
        }
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
        orders: usize,
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
            if completed == orders as u64 && settled >= sent as u64 && plain() >= sent {
                return Ok(());
            }
            if begun.elapsed() > LONGEST {
                return Err(format!("not done after {LONGEST:?}: {settled} of {sent} are settled").into());
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }
}
